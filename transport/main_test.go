package transport

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"capnproto.org/go/capnp/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	goleak.VerifyTestMain(m)
}

// must is for what a test takes for granted.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// numbered is a frame that says n, padded to at least size bytes.
func numbered(n uint64, size int) []byte {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	defer msg.Release()
	hello := must(NewRootWireHello(seg))
	hello.SetEpoch(n)
	if size > 0 {
		vat := must(hello.NewVat())
		if err := vat.SetEd25519(make([]byte, size)); err != nil {
			panic(err)
		}
	}
	return must(msg.Marshal())
}

func number(msg *capnp.Message) uint64 {
	return must(ReadRootWireHello(msg)).Epoch()
}

func frame(n uint64) []byte { return numbered(n, 0) }

// write sends numbered frames in one call.
func write(t *testing.T, c Conn, numbers ...uint64) {
	t.Helper()
	var frames [][]byte
	for _, n := range numbers {
		frames = append(frames, frame(n))
	}
	if err := c.WriteFrames(frames); err != nil {
		t.Fatalf("WriteFrames(%v): %v", numbers, err)
	}
}

// want reads numbered frames.
func want(t *testing.T, c Conn, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		msg, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("ReadFrame: %v, want frame %d", err, n)
		}
		if got := number(msg); got != n {
			t.Fatalf("got frame %d, want %d", got, n)
		}
	}
}

// connect dials from one network to another, and closes both ends when the test is over.
func connect(t *testing.T, from, to Network) (dialed, accepted Conn) {
	t.Helper()
	type result struct {
		conn Conn
		err  error
	}
	results := make(chan result, 1)
	go func() {
		conn, err := to.Accept()
		results <- result{conn, err}
	}()
	dialed, err := from.Dial(context.Background(), to.LocalID(), to.Addrs())
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	r := <-results
	if r.err != nil {
		t.Fatalf("Accept: %v", r.err)
	}
	t.Cleanup(func() {
		dialed.Close()
		r.conn.Close()
	})
	return dialed, r.conn
}

func newIdentityT(t *testing.T) *Identity {
	t.Helper()
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func listenTLS(t *testing.T, cfg Config) Network {
	t.Helper()
	n, err := ListenTLS("127.0.0.1:0", newIdentityT(t), cfg)
	return opened(t, n, err)
}

func listenPlain(t *testing.T, name string, cfg Config) Network {
	t.Helper()
	n, err := ListenPlain("127.0.0.1:0", name, cfg)
	return opened(t, n, err)
}

func memVat(t *testing.T, m *Memory, name string, cfg Config) Network {
	t.Helper()
	n, err := m.Vat(name, cfg)
	return opened(t, n, err)
}

func opened(t *testing.T, n Network, err error) Network {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}
