package transport

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"
)

// valvePair is a connection in memory from a, whose writes go through v, to b.
func valvePair(t *testing.T, v *Valve) (a, b Conn) {
	t.Helper()
	m := NewMemory()
	return connect(t, memVat(t, m, "alice", Config{Wrap: v.Wrap}), memVat(t, m, "bob", Config{}))
}

func TestValveDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const d = 300 * time.Millisecond
		v := NewValve()
		a, b := valvePair(t, v)
		got, end := reading(b)
		v.Delay(d, func(f []byte) bool { return number(must(capnp.Unmarshal(f))) == 2 })
		write(t, a, 1, 2, 3)
		wantSoFar(t, got, 1)
		time.Sleep(d / 2)
		write(t, a, 4)
		wantSoFar(t, got)
		time.Sleep(d/2 - 1)
		wantSoFar(t, got)
		time.Sleep(time.Nanosecond)
		wantSoFar(t, got, 2, 3)

		// Without delay from here on, but not ahead of what is on its way.
		v.Delay(0, nil)
		write(t, a, 5)
		wantSoFar(t, got)
		time.Sleep(d / 2)
		wantSoFar(t, got, 4, 5)

		v.Delay(d, nil)
		write(t, a, 6)
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantSoFar(t, got)
		start := time.Now()
		if err := <-end; err != io.EOF || time.Since(start) != d {
			t.Errorf("the end: %v after %v, want io.EOF after %v", err, time.Since(start), d)
		}
		wantSoFar(t, got, 6)
	})
}

func TestValveHoldsDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewValve()
		a, b := valvePair(t, v)
		got, _ := reading(b)
		v.Delay(time.Second, nil)
		write(t, a, 1) // only delayed: Hold comes later
		v.Hold()
		write(t, a, 2)
		time.Sleep(time.Minute)
		wantSoFar(t, got, 1)
		if n := v.Held(); n != 1 {
			t.Errorf("Held = %d, want 1", n)
		}
		v.Free()
		wantSoFar(t, got, 2)
		a.Close()
	})
}

func TestValveOverTLS(t *testing.T) {
	v := NewValve()
	alice := listenTLS(t, Config{Wrap: v.Wrap})
	bob, carol := listenTLS(t, Config{}), listenTLS(t, Config{})
	toBob, b := connect(t, alice, bob)
	toCarol, c := connect(t, alice, carol)
	v.HoldIf(func(msg *capnp.Message) bool { return number(msg) == 2 })
	write(t, toBob, 1, 2, 3)
	write(t, toCarol, 4) // one valve, all its connections
	want(t, b, 1)
	if n := v.Held(); n != 3 {
		t.Errorf("Held = %d, want 3", n)
	}
	v.Free()
	want(t, b, 2, 3)
	want(t, c, 4)

	v.Hold()
	write(t, toBob, 5)
	if err := toBob.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := toBob.WriteFrames([][]byte{frame(6)}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after Close: %v, want net.ErrClosed", err)
	}
	if n := v.Held(); n != 0 {
		t.Errorf("Held = %d: Close did not drop what was held", n)
	}
}

// Order holds while others hold and free as fast as they can.
func TestValveUnderFire(t *testing.T) {
	const n = 500
	v := NewValve()
	a, b := valvePair(t, v)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					v.Hold()
					v.Delay(time.Microsecond, nil)
					v.Free()
					v.Delay(0, nil)
				}
			}
		})
	}
	for i := range uint64(n) {
		write(t, a, 2*i, 2*i+1)
	}
	close(stop)
	wg.Wait()
	v.Free()
	for i := range uint64(n) {
		want(t, b, 2*i, 2*i+1)
	}
}

// brokenConn fails to write.
type brokenConn struct{ Conn }

var errBroken = errors.New("broken")

func (brokenConn) WriteFrames([][]byte) error { return errBroken }

func TestValveReportsErrorsLater(t *testing.T) {
	v := NewValve()
	c := v.Wrap(brokenConn{})
	v.Hold()
	write(t, c, 1)
	v.Free()
	if err := c.WriteFrames([][]byte{frame(2)}); err != errBroken {
		t.Errorf("%v, want the error of the frame before", err)
	}
}

// What is written while a valve is being freed is not left behind.
func TestFreeWhileWriting(t *testing.T) {
	m := NewMemory()
	a, b := memVat(t, m, "a", Config{}), memVat(t, m, "b", Config{})
	dialed, accepted := connect(t, a, b)
	link := m.Link(a.LocalID(), b.LocalID())
	const rounds, burst = 200, 20
	for round := range uint64(rounds) {
		link.Hold()
		written := make(chan struct{})
		go func() {
			defer close(written)
			for n := range uint64(burst) {
				if err := dialed.WriteFrames([][]byte{frame(round*burst + n)}); err != nil {
					t.Error(err)
				}
			}
		}()
		for link.Held() == 0 {
			runtime.Gosched()
		}
		link.Free()
		<-written
		if held := link.Held(); held != 0 {
			t.Fatalf("round %d: %d frames held by a free link", round, held)
		}
		for n := range uint64(burst) {
			want(t, accepted, round*burst+n)
		}
	}
}
