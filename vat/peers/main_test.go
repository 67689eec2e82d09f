package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"
	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/peerapi"
	"github.com/vatwork/vatwork/vat/trace"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	code := m.Run()
	dropProgram()
	// An object that go-capnp has sent by two messages is never let go; those of vats are counted, see newVat.
	err := goleak.Find(goleak.IgnoreAnyFunction("capnproto.org/go/capnp/v3/server.(*Server).handleCalls"))
	if code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "leaked:", err)
		code = 1
	}
	os.Exit(code)
}

// eventually waits until cond holds.
func eventually(t *testing.T, what func() string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("did not come about: %s", what())
		}
	}
}

// newVat starts a vat that hosts an object, and checks at the end of the test that its tables are empty.
func newVat(t *testing.T, name string, with func(*vat.Config)) (*vat.Vat, *object) {
	t.Helper()
	var v *vat.Vat
	o, client := newObject(func() (peerapi.Peer, capnp.Resolver[peerapi.Peer]) {
		return vat.NewPromise[peerapi.Peer](v)
	})
	cfg := vat.Config{Bootstrap: capnp.Client(client)}
	if with != nil {
		with(&cfg)
	}
	said := &exchange{node: name, decoder: trace.NewDecoder(transport.VatID.Short, nil)}
	cfg.Tap, o.said = said.tap, said
	if cfg.Network == nil {
		network, err := transport.NewMemory().Vat(name, transport.Config{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Network = network
	}
	var err error
	if v, err = vat.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said)
		} else {
			eventually(t, func() string { return "empty tables\n" + v.Tree().String() }, func() bool { return v.Tables().Empty() })
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
		eventually(t, func() string { return "objects shut down" }, func() bool { return o.live.Load() == 0 })
	})
	return v, o
}

// An exchange is what a vat saw of its sessions, to be shown when a test has failed.
type exchange struct {
	node    string
	decoder *trace.Decoder

	mu    sync.Mutex
	lines []string
}

func (x *exchange) tap(e vat.TapEvent) {
	event, err := x.decoder.Event(x.node, e)
	if err != nil {
		return
	}
	text, _ := json.Marshal(event.Line) // it has nothing that cannot be written
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lines = append(x.lines, string(text))
}

func (x *exchange) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	last := x.lines[max(0, len(x.lines)-50):]
	return fmt.Sprintf("the last messages of %s:\n%s", x.node, strings.Join(last, "\n"))
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve has v serve level 1 peers on l until the test ends.
func serve(t *testing.T, v *vat.Vat, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- v.ServeTwoParty(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("ServeTwoParty: %v", err)
		}
	})
}

// dial is v's bootstrap of the level 1 peer at l, released at the end of the test.
func dial(t *testing.T, v *vat.Vat, l net.Addr) peerapi.Peer {
	t.Helper()
	c, err := v.DialTwoParty(t.Context(), l.Network(), l.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Release)
	return peerapi.Peer(c)
}

// goConn is go-capnp's end of a connection, with an object of its own as bootstrap. It is closed at the end of
// the test.
func goConn(t *testing.T, rw net.Conn) (*rpc.Conn, *object) {
	o, client := newObject(nil)
	conn := rpc.NewConn(rpc.NewStreamTransport(rw), &rpc.Options{BootstrapClient: capnp.Client(client)})
	t.Cleanup(func() {
		_ = conn.Close() // it may be closed already
		<-conn.Done()
	})
	return conn, o
}

// goDial connects go-capnp to l.
func goDial(t *testing.T, l net.Addr) (*rpc.Conn, *object) {
	t.Helper()
	rw, err := net.Dial(l.Network(), l.String())
	if err != nil {
		t.Fatal(err)
	}
	return goConn(t, rw)
}

// goServe has go-capnp serve on l until the test ends. What it makes of connections comes on conns.
func goServe(t *testing.T, l net.Listener) (conns chan *rpc.Conn) {
	conns = make(chan *rpc.Conn, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			rw, err := l.Accept()
			if err != nil {
				return
			}
			conn, _ := goConn(t, rw)
			conns <- conn
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return conns
}

func goBootstrap(t *testing.T, conn *rpc.Conn) peerapi.Peer {
	p := peerapi.Peer(conn.Bootstrap(context.Background()))
	t.Cleanup(p.Release)
	return p
}
