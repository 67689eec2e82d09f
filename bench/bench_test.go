package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/examples/hello/greeting"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const frameBytes = 128 // a small call on the wire

// greeters are the two runtimes that are compared.
var greeters = map[string]func(testing.TB) greeting.Greeter{
	"vatwork": vatworkGreeter, "go-capnp": goCapnpGreeter,
}

// handoffs are the ways for Alice to come to call Carol's capability.
var handoffs = map[string]func(trio, context.Context) error{
	"fresh": trio.fresh, "pipelined": trio.pipelined, "none": trio.none,
}

// TestWorkloads runs what is measured, to see that it does what it says.
func TestWorkloads(t *testing.T) {
	for name, start := range greeters {
		t.Run("Call/"+name, func(t *testing.T) {
			c := start(t)
			if err := together(256, 64, func() error { return greet(t.Context(), c) }); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, f := range handoffs {
		t.Run("Handoff/"+name, func(t *testing.T) {
			tr := newTrio(t)
			for range 3 {
				if err := f(tr, t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestCallAllocations holds what a call allocates at both ends: 18 are go-capnp's, 1 is the service's.
func TestCallAllocations(t *testing.T) {
	const most = 24
	c := vatworkGreeter(t)
	call := func() {
		if err := greet(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	call() // the session is there
	if n := testing.AllocsPerRun(2000, call); n > most && !racing {
		t.Errorf("%v allocations, want %v at most", n, most)
	} else {
		t.Logf("%v allocations", n)
	}
}

// TestHandoffAllocations holds what a handoff allocates in all three vats, with its first call.
func TestHandoffAllocations(t *testing.T) {
	const most = 240
	tr := newTrio(t)
	handoff := func() {
		if err := tr.fresh(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	handoff() // the sessions are there
	if n := testing.AllocsPerRun(500, handoff); n > most && !racing {
		t.Errorf("%v allocations, want %v at most", n, most)
	} else {
		t.Logf("%v allocations", n)
	}
}

func BenchmarkEcho(b *testing.B) {
	near, far := tcpPair(b)
	done := make(chan struct{})
	go func() {
		defer close(done)
		echo(far)
	}()
	frame := make([]byte, frameBytes)
	for b.Loop() {
		if _, err := near.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(near, frame); err != nil {
			b.Fatal(err)
		}
	}
	near.Close()
	<-done
}

func echo(c net.Conn) {
	defer c.Close()
	frame := make([]byte, frameBytes)
	for {
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}

func BenchmarkCall(b *testing.B) {
	for _, name := range []string{"vatwork", "go-capnp"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				c := greeters[name](b)
				if err := greet(b.Context(), c); err != nil { // the session is there before the clock runs
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				if err := together(b.N, callers, func() error { return greet(b.Context(), c) }); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
			})
		}
	}
}

func BenchmarkHandoff(b *testing.B) {
	for _, name := range []string{"fresh", "pipelined", "none"} {
		b.Run(name, func(b *testing.B) {
			tr := newTrio(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := handoffs[name](tr, b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
