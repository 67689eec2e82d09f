package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

var errStranger = errors.New("no member; ask to be let in")

// logged is a log that may be written and read at a time.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestRefusedPeerIsTold: it reads an Abort that says why, and then the end; what it has sent meanwhile does no harm.
func TestRefusedPeerIsTold(t *testing.T) {
	log := &logged{}
	alice := listenTLS(t, Config{})
	bob := listenTLS(t, Config{
		Logger: slog.New(slog.NewTextHandler(log, nil)),
		Admit:  func(context.Context, VatID) error { return errStranger },
	})
	conn, err := alice.Dial(t.Context(), bob.LocalID(), bob.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	write(t, conn, 1, 2, 3)
	msg, err := conn.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	abort := must(must(rpc.ReadRootMessage(msg)).Abort())
	for _, want := range []string{string(bob.LocalID()), string(alice.LocalID()), errStranger.Error()} {
		if reason := must(abort.Reason()); !strings.Contains(reason, want) {
			t.Errorf("the reason %q does not say %q", reason, want)
		}
	}
	if _, err := conn.ReadFrame(); err != io.EOF {
		t.Errorf("after the Abort: %v", err)
	}
	conn.Close()
	bob.Close() // waits for who turned alice away
	if !strings.Contains(log.String(), "peer="+string(alice.LocalID())) {
		t.Errorf("the log does not name alice: %s", log)
	}
}

// TestDialAsksAdmit: whoever is not admitted is not dialed either.
func TestDialAsksAdmit(t *testing.T) {
	bob := listenTLS(t, Config{Admit: func(context.Context, VatID) error { panic("asked") }})
	alice := listenTLS(t, Config{Admit: func(context.Context, VatID) error { return errStranger }})
	_, err := alice.Dial(t.Context(), bob.LocalID(), bob.Addrs())
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Peer != bob.LocalID() || !errors.Is(err, errStranger) {
		t.Errorf("got %v", err)
	}
}

// TestAdmitWaits: one that has to wait for its decision keeps nobody else waiting, and ends with the network.
func TestAdmitWaits(t *testing.T) {
	var slow VatID
	asked, decide := make(chan struct{}, 1), make(chan struct{})
	bob := listenTLS(t, Config{Admit: func(ctx context.Context, peer VatID) error {
		if peer != slow {
			return nil
		}
		asked <- struct{}{}
		select {
		case <-decide:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}})
	alice, carol := listenTLS(t, Config{}), listenTLS(t, Config{})
	slow = alice.LocalID()
	waiting, err := alice.Dial(t.Context(), bob.LocalID(), bob.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	<-asked
	a, b := connect(t, carol, bob)
	write(t, a, 1)
	want(t, b, 1)
	close(decide)
	got, err := bob.Accept()
	if err != nil || got.Peer().ID != slow {
		t.Fatalf("accepted %v, %v", got, err)
	}
	got.Close()
	decide = make(chan struct{})
	again, err := alice.Dial(t.Context(), bob.LocalID(), bob.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	<-asked
	bob.Close()
}

func TestMemoryAsksAdmit(t *testing.T) {
	m := NewMemory()
	alice := memVat(t, m, "alice", Config{})
	bob := memVat(t, m, "bob", Config{Admit: func(_ context.Context, peer VatID) error {
		if peer == "plain:alice" {
			return errStranger
		}
		return nil
	}})
	for _, pair := range [][2]Network{{alice, bob}, {bob, alice}} {
		if _, err := pair[0].Dial(t.Context(), pair[1].LocalID(), pair[1].Addrs()); !errors.Is(err, errStranger) {
			t.Errorf("%s dials: %v", pair[0].LocalID(), err)
		}
	}
	connect(t, memVat(t, m, "carol", Config{}), bob)
}
