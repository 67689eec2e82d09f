package actors

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/server"
	"github.com/asynkron/protoactor-go/actor"
)

// The methods of the objects of these tests.
const (
	mark  uint16 = iota // notes which instance ran it
	boom                // panics
	wait                // waits until it is let, or its caller gives up
	goes                // says call.Go, then as wait
	gasps               // says call.Go, then as wait, then panics
	none                // is no method
)

// A hosted is a host and what its instances did. Instances are numbered from 1.
type hosted struct {
	*Host
	t       *testing.T
	entered chan int      // gets the instance of each wait, goes and gasps that has begun
	let     chan struct{} // lets one of them go on
	ended   chan error    // what Stopped was told
	downs   chan int      // the instances, as they are shut down

	mu        sync.Mutex
	producing func(instance int) // what the producer does first
	made      int
	ran       []int // which instance ran each mark
	escalated []error
}

// newHosted has not begun: producing may be set.
func newHosted(t *testing.T, policy Policy, admission Admission) *hosted {
	t.Helper()
	h := &hosted{t: t, entered: make(chan int, 100), let: make(chan struct{}, 100), ended: make(chan error, 2), downs: make(chan int, 100)}
	sup := NewSupervisor(func(_ *actor.PID, reason any) {
		t.Errorf("the supervisor does not know the host that failed: %v", reason)
	})
	house := newHouse(t, sup)
	host, err := NewHost(house.system, HostConfig{
		Name:      "object/x",
		Produce:   h.makeInstance,
		Policy:    policy,
		Admission: admission,
		Logger:    slog.New(slog.DiscardHandler),
		Owner:     h,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Host = host
	sup.Add(house.spawn("x", sup.Props()), host)
	// At the end of the test, before the house: nothing of the host may be left.
	t.Cleanup(func() { host.End(exc.New(exc.Failed, "", "the test is over")) })
	return h
}

// host is newHosted that has begun.
func host(t *testing.T, policy Policy) *hosted {
	t.Helper()
	h := newHosted(t, policy, Admission{})
	h.Begin()
	return h
}

// Stopped implements Owner.
func (h *hosted) Stopped(why error) { h.ended <- why }

// Escalated implements Owner.
func (h *hosted) Escalated(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.escalated = append(h.escalated, why)
}

func (h *hosted) makeInstance() ([]server.Method, func()) {
	h.mu.Lock()
	h.made++
	n, producing := h.made, h.producing
	h.mu.Unlock()
	if producing != nil {
		producing(n)
	}
	impls := []func(context.Context, *server.Call) error{
		mark: func(context.Context, *server.Call) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ran = append(h.ran, n)
			return nil
		},
		boom: func(context.Context, *server.Call) error { panic(fmt.Sprintf("boom of %d", n)) },
		wait: func(ctx context.Context, _ *server.Call) error { return h.await(ctx, n) },
		goes: func(ctx context.Context, c *server.Call) error { c.Go(); return h.await(ctx, n) },
		gasps: func(ctx context.Context, c *server.Call) error {
			c.Go()
			_ = h.await(ctx, n)
			panic(fmt.Sprintf("last gasp of %d", n))
		},
	}
	methods := make([]server.Method, len(impls))
	for i, impl := range impls {
		methods[i] = server.Method{Method: capnp.Method{MethodID: uint16(i)}, Impl: impl}
	}
	return methods, func() { h.downs <- n }
}

func (h *hosted) await(ctx context.Context, n int) error {
	h.entered <- n
	select {
	case <-h.let:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runs is which instance ran each mark so far.
func (h *hosted) runs() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ran)
}

// A reply is the Returner of one call: its error arrives, once.
type reply struct {
	err  error
	done chan error
}

func (r *reply) AllocResults(sz capnp.ObjectSize) (capnp.Struct, error) {
	_, seg := capnp.NewSingleSegmentMessage(nil)
	return capnp.NewRootStruct(seg, sz)
}
func (r *reply) PrepareReturn(err error) { r.err = err }
func (r *reply) Return()                 { r.done <- r.err }
func (r *reply) ReleaseResults()         {}

// call makes a call, and checks at the end of the test that its arguments were released once.
func (h *hosted) call(ctx context.Context, method uint16) <-chan error {
	return h.callWith(ctx, method, 0)
}

func (h *hosted) callWith(ctx context.Context, method uint16, bytes int) <-chan error {
	h.t.Helper()
	_, seg := capnp.NewSingleSegmentMessage(nil)
	args, err := capnp.NewRootStruct(seg, capnp.ObjectSize{PointerCount: 1})
	if err == nil && bytes > 0 {
		err = args.SetData(0, make([]byte, bytes))
	}
	if err != nil {
		h.t.Fatal(err)
	}
	r := &reply{done: make(chan error, 2)}
	released := make(chan struct{}, 2)
	h.Recv(ctx, capnp.Recv{
		Method:      capnp.Method{MethodID: method},
		Args:        args,
		ReleaseArgs: func() { released <- struct{}{} },
		Returner:    r,
	}, nil)
	h.t.Cleanup(func() {
		if n := len(released); n != 1 {
			h.t.Errorf("the arguments of method %d were released %d times", method, n)
		}
	})
	return r.done
}

func wantNil(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// wantExc checks the type and the whole text of an exception.
func wantExc(t *testing.T, what string, err error, typ exc.Type, text string) {
	t.Helper()
	if err == nil || exc.TypeOf(err) != typ || err.Error() != text {
		t.Errorf("%s: %v, want %v: %s", what, err, typ, text)
	}
}

// wantRuns checks which instance ran each mark.
func (h *hosted) wantRuns(want ...int) {
	h.t.Helper()
	if got := h.runs(); !slices.Equal(got, want) {
		h.t.Errorf("marks were run by instances %v, want %v", got, want)
	}
}

// wantDown checks which instance is shut down next.
func (h *hosted) wantDown(want int) {
	h.t.Helper()
	if got := <-h.downs; got != want {
		h.t.Errorf("instance %d was shut down, want %d", got, want)
	}
}

// wantDowns checks that the first n instances are shut down, in whatever order.
func (h *hosted) wantDowns(n int) {
	h.t.Helper()
	down := map[int]bool{}
	for range n {
		down[<-h.downs] = true
	}
	for i := range n {
		if !down[i+1] {
			h.t.Errorf("instance %d was not shut down, of %d", i+1, n)
		}
	}
}
