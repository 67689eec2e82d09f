package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3"
)

func memPair(t *testing.T) (m *Memory, a, b Conn) {
	t.Helper()
	m = NewMemory()
	a, b = connect(t, memVat(t, m, "alice", Config{}), memVat(t, m, "bob", Config{}))
	return m, a, b
}

// reading reads numbered frames of c until it ends, and tells of each: the error comes last.
func reading(c Conn) (frames <-chan uint64, end <-chan error) {
	f, e := make(chan uint64, 100), make(chan error, 1)
	go func() {
		for {
			msg, err := c.ReadFrame()
			if err != nil {
				close(f)
				e <- err
				return
			}
			f <- number(msg)
		}
	}()
	return f, e
}

// wantSoFar checks, in a bubble of synctest, what has come once nothing moves any more.
func wantSoFar(t *testing.T, frames <-chan uint64, numbers ...uint64) {
	t.Helper()
	synctest.Wait()
	for _, n := range numbers {
		select {
		case got, ok := <-frames:
			if !ok || got != n {
				t.Fatalf("got frame %d (%v), want %d", got, ok, n)
			}
		default:
			t.Fatalf("frame %d has not come", n)
		}
	}
	select {
	case got, ok := <-frames:
		if ok {
			t.Fatalf("frame %d came, want none", got)
		}
	default:
	}
}

func TestLinkHoldAndFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := memPair(t)
		link := m.Link("plain:alice", "plain:bob")
		got, end := reading(b)
		write(t, a, 1)
		wantSoFar(t, got, 1)

		link.Hold()
		write(t, a, 2, 3)
		write(t, b, 10) // the other direction is another link
		want(t, a, 10)
		wantSoFar(t, got)
		if n := link.Held(); n != 2 {
			t.Errorf("Held = %d, want 2", n)
		}
		link.Free()
		if n := link.Held(); n != 0 {
			t.Errorf("Held = %d, want 0", n)
		}
		write(t, a, 4)
		wantSoFar(t, got, 2, 3, 4)

		// What is held when the writer closes comes before the end.
		link.Hold()
		write(t, a, 5)
		a.Close()
		wantSoFar(t, got)
		if err := a.WriteFrames([][]byte{frame(6)}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing after Close: %v, want net.ErrClosed", err)
		}
		link.Free()
		wantSoFar(t, got, 5)
		if err := <-end; err != io.EOF {
			t.Errorf("the end: %v, want io.EOF", err)
		}
		if n := len(link.valve.lanes) + len(link.conns); n != 0 {
			t.Errorf("the link remembers %d lanes and connections that are gone", n)
		}
	})
}

func TestLinkHoldIf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := memPair(t)
		link := m.Link("plain:alice", "plain:bob")
		got, _ := reading(b)
		link.HoldIf(func(msg *capnp.Message) bool { return number(msg) == 3 })
		write(t, a, 1, 2, 3, 4) // in one call
		wantSoFar(t, got, 1, 2)
		if n := link.Held(); n != 2 {
			t.Errorf("Held = %d, want 2", n)
		}
		link.Free()
		write(t, a, 3) // Free has forgotten the predicate
		wantSoFar(t, got, 3, 4, 3)

		link.HoldIf(func(*capnp.Message) bool { return true })
		link.Free()
		write(t, a, 5)
		wantSoFar(t, got, 5)
	})
}

func TestLinkOutlivesConnections(t *testing.T) {
	m := NewMemory()
	link := m.Link("plain:alice", "plain:bob")
	link.Hold() // before there is anything to hold
	alice, bob := memVat(t, m, "alice", Config{}), memVat(t, m, "bob", Config{})
	a, _ := connect(t, alice, bob) // hellos pass
	write(t, a, 1)
	link.Cut()
	a2, b2 := connect(t, alice, bob)
	write(t, a2, 2)
	if n := link.Held(); n != 1 {
		t.Errorf("Held = %d, want the one of the new connection", n)
	}
	link.Free()
	want(t, b2, 2)
	if m.Link("plain:alice", "plain:bob") != link {
		t.Error("another Link")
	}
}

func TestLinkCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := memPair(t)
		_, endA := reading(a)
		m.Link("plain:bob", "plain:alice").Hold()
		write(t, b, 1)
		write(t, a, 2) // arrives, but is not read
		m.Link("plain:alice", "plain:bob").Cut()
		if err := <-endA; err != ErrCut {
			t.Errorf("a: %v, want ErrCut", err)
		}
		if _, err := b.ReadFrame(); err != ErrCut {
			t.Errorf("b: %v, want ErrCut", err)
		}
		for _, c := range []Conn{a, b} {
			if err := c.WriteFrames([][]byte{frame(3)}); err != ErrCut {
				t.Errorf("writing: %v, want ErrCut", err)
			}
		}
		if n := m.Link("plain:bob", "plain:alice").Held(); n != 0 {
			t.Errorf("Held = %d after the cut, want 0", n)
		}
	})
}

func TestMemoryVats(t *testing.T) {
	m := NewMemory()
	alice := memVat(t, m, "alice", Config{})
	if _, err := m.Vat("alice", Config{}); err == nil {
		t.Error("two vats of one name")
	}
	bob := memVat(t, m, "bob", Config{})
	if got := m.Addresses("plain:bob"); len(got) != 1 || got[0] != bob.Addrs()[0] {
		t.Errorf("Addresses = %v, want %v", got, bob.Addrs())
	}
	if got := m.Addresses(newIdentityT(t).ID()); got != nil {
		t.Errorf("Addresses of a key = %v, want none", got)
	}
	_, b := connect(t, alice, bob)
	first := b.Peer().Epoch
	alice.Close()
	again := memVat(t, m, "alice", Config{})
	if _, b := connect(t, again, bob); b.Peer().Epoch != first+1 {
		t.Errorf("the epoch went from %d to %d, want one more", first, b.Peer().Epoch)
	}
	alice.Close() // of the vat that is gone: it must not end the new one
	connect(t, bob, again)
}

func TestMemoryBacklogIsBounded(t *testing.T) {
	m := NewMemory()
	alice := memVat(t, m, "alice", Config{})
	bob := memVat(t, m, "bob", Config{Limits: Limits{MaxHandshakes: 2}})
	for i := range 3 {
		c, err := alice.Dial(context.Background(), bob.LocalID(), bob.Addrs())
		if (err == nil) != (i < 2) {
			t.Errorf("dial %d: %v", i, err)
		}
		if err == nil {
			defer c.Close()
		}
	}
}

func TestMemoryChecksFrames(t *testing.T) {
	_, a, b := memPair(t)
	if err := a.WriteFrames([][]byte{header(0xffffffff)}); err != nil {
		t.Fatal(err)
	}
	var bad *FrameError
	if _, err := b.ReadFrame(); !errors.As(err, &bad) {
		t.Errorf("%v, want *FrameError", err)
	}
}
