package vat

import (
	"context"
	"errors"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A busy probe holds up its object until the test lets it go, whatever its callers do.
type busy struct {
	*probe
}

func (b busy) Keep(context.Context, testapi.Probe_keep) error {
	b.entered <- struct{}{}
	<-b.let
	return nil
}

func (busy) Shutdown() {}

// A call that waits for an object can be given up: its caller is not held up by a method that never returns, the
// call is not made any more, and its parameters are released.
func TestCanceledWhileItWaitsForAnObject(t *testing.T) {
	c := newCluster(t, "host", "guest")
	p, unused := newProbe("busy")
	defer unused.Release()
	b, err := Spawn[testapi.Probe](c.byName["host"], testapi.Probe_Methods, func() testapi.Probe_Server { return busy{p} })
	if err != nil {
		t.Fatal(err)
	}
	c.keep("host", b)
	kept, release := c.bootstrap("guest", "host").Kept(t.Context(), nil)
	defer release()
	remote := kept.Probe()

	held, release := b.Keep(t.Context(), nil)
	defer release()
	arrives(t, "the method", p.entered)
	ctx, cancel := context.WithCancel(t.Context())
	given := make([]*probe, 2)
	answers, letGo := make([]testapi.Probe_pass_Results_Future, 2), make([]capnp.ReleaseFunc, 2)
	for i, x := range []testapi.Probe{b, remote} {
		var client testapi.Probe
		given[i], client = newProbe("given")
		answers[i], letGo[i] = x.Pass(ctx, giving[testapi.Probe_pass_Params](client))
		client.Release()
	}
	note, release := b.Note(ctx, noting(1, 1))
	defer release()
	if err := noteOn(t.Context(), c.locals["host"], 1, 1); err != nil { // another object is not held up
		t.Fatal(err)
	}
	eventually(t, saying("the calls at the object"), func() bool { return objectCalls(c.byName["host"], b) == 4 })
	cancel()
	for i, ans := range answers {
		if _, err := ans.Struct(); err == nil {
			t.Errorf("call %d was canceled, and returned", i)
		}
	}
	if _, err := answers[0].Struct(); !errors.Is(err, context.Canceled) {
		t.Errorf("the local call: %v", err)
	}
	if _, err := note.Struct(); !errors.Is(err, context.Canceled) {
		t.Errorf("the local call behind it: %v", err)
	}
	p.let <- struct{}{}
	if _, err := held.Struct(); err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	for i, g := range given {
		if i == 1 {
			letGo[i]() // the news may come too late at the host: then the call is made, and has returned what it was given
		}
		arrives(t, "the shutdown of a parameter", g.down)
	}
	letGo[0]()
	if notes := p.seen(); len(notes) > 0 {
		t.Errorf("a call that was given up was made: %v", notes)
	}
	b.Release()
}

// objectCalls is how many calls run on an object or wait for it.
func objectCalls(v *Vat, c testapi.Probe) int {
	s := capnp.Client(c).Snapshot()
	defer s.Release()
	_, calls := s.Brand().Value.(*spawned).host.State()
	return calls
}

// Without call.Go a method that waits for its own object waits for ever: its caller can still end that.
func TestCanceledWhileItWaitsForItself(t *testing.T) {
	c := newCluster(t, "a")
	p, unused := newProbe("stuck")
	defer unused.Release()
	inside := make(chan struct{})
	var self testapi.Probe
	self, err := Spawn[testapi.Probe](c.byName["a"], testapi.Probe_Methods, func() testapi.Probe_Server {
		return stuck{selfish{p, &self}, inside}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer self.Release()
	ctx, cancel := context.WithCancel(t.Context())
	ans, release := self.Keep(ctx, nil)
	defer release()
	arrives(t, "the method", inside)
	cancel()
	if _, err := ans.Struct(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := noteOn(t.Context(), self, 1, 1); err != nil {
		t.Errorf("the object serves no more: %v", err)
	}
}

type stuck struct {
	selfish
	inside chan struct{}
}

func (s stuck) Keep(ctx context.Context, _ testapi.Probe_keep) error {
	close(s.inside)
	return noteOn(ctx, *s.self, 1, 1)
}
