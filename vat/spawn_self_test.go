package vat

import (
	"context"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A selfish probe is an actor of its vat that calls itself, and panics when told to. What it notes outlives it.
type selfish struct {
	*probe
	self *testapi.Probe // borrowed
}

// CallBack calls callBack on the probe that it is given, with itself to be called back, or note if that is itself.
func (s selfish) CallBack(ctx context.Context, c testapi.Probe_callBack) error {
	to := c.Args().Probe().AddRef()
	defer to.Release()
	from, n := c.Args().From(), c.Args().N()
	c.Go()
	if n == 0 {
		return noteOn(ctx, to, from, 1)
	}
	ans, release := to.CallBack(ctx, func(p testapi.Probe_callBack_Params) error {
		p.SetFrom(from)
		p.SetN(n - 1)
		return p.SetProbe(s.self.AddRef())
	})
	defer release()
	_, err := ans.Struct()
	return err
}

// Fail panics.
func (s selfish) Fail(_ context.Context, c testapi.Probe_fail) error {
	reason, _ := c.Args().Reason()
	panic(reason)
}

// Wait waits for the test, and then calls itself.
func (s selfish) Wait(ctx context.Context, c testapi.Probe_wait) error {
	if err := s.probe.Wait(ctx, c); err != nil {
		return err
	}
	return noteOn(ctx, *s.self, 1, 1)
}

// Shutdown is the instance's: the probe outlives it.
func (selfish) Shutdown() {}

// spawnSelfish makes one that restarts without end.
func spawnSelfish(t *testing.T, v *Vat, p *probe) testapi.Probe {
	t.Helper()
	self := new(testapi.Probe)
	var err error
	*self, err = Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return selfish{p, self} },
		Supervised(actors.Policy{Restarts: 1 << 20, Backoff: 1, MaxBackoff: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return *self
}

func callBack(ctx context.Context, on, with testapi.Probe, n uint32) func() error {
	ans, release := on.CallBack(ctx, func(p testapi.Probe_callBack_Params) error {
		p.SetFrom(1)
		p.SetN(n)
		return p.SetProbe(with.AddRef())
	})
	return func() error {
		defer release()
		_, err := ans.Struct()
		return err
	}
}

func failing(reason string) func(testapi.Probe_fail_Params) error {
	return func(p testapi.Probe_fail_Params) error { return p.SetReason(reason) }
}

func TestObjectCallsItself(t *testing.T) {
	c := newCluster(t, "a")
	p, unused := newProbe("selfish")
	defer unused.Release()
	s := spawnSelfish(t, c.byName["a"], p)
	defer s.Release()
	for _, n := range []uint32{0, 1, 5} {
		if err := callBack(t.Context(), s, s, n)(); err != nil {
			t.Errorf("a call on itself, %d deep: %v", n, err)
		}
	}
	if got := len(p.seen()); got != 3 {
		t.Errorf("%d notes, want 3", got)
	}
}

// Two objects in two vats that call each other back, to and fro, while each waits for the other.
func TestObjectsCallEachOtherBack(t *testing.T) {
	c := newCluster(t, "a", "b")
	pa, unused := newProbe("at a")
	defer unused.Release()
	pb, unused := newProbe("at b")
	defer unused.Release()
	a, b := spawnSelfish(t, c.byName["a"], pa), spawnSelfish(t, c.byName["b"], pb)
	defer a.Release()
	defer b.Release()
	if err := keepOn(t.Context(), c.bootstrap("b", "a"), b); err != nil {
		t.Fatal(err)
	}
	far := c.objects["a"].keeps() // b, as a vat that imports it
	defer far.Release()
	var pending []func() error
	for range 10 {
		pending = append(pending, callBack(t.Context(), a, far, 6))
	}
	for _, get := range pending {
		if err := get(); err != nil {
			t.Error(err)
		}
	}
	if got := len(pa.seen()) + len(pb.seen()); got != 10 {
		t.Errorf("%d notes, want 10", got)
	}
	if err := keepOn(t.Context(), c.locals["a"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}

// A method that has said call.Go waits while another one panics: it goes on, and what it calls on its own object
// is dealt with by the new instance, as are the calls that waited meanwhile.
func TestObjectCallsItselfOverARestart(t *testing.T) {
	c := newCluster(t, "a")
	p, unused := newProbe("selfish")
	defer unused.Release()
	s := spawnSelfish(t, c.byName["a"], p)
	defer s.Release()

	waiting, release := s.Wait(t.Context(), nil)
	defer release()
	arrives(t, "the method that waits", p.entered)
	panicked, release := s.Fail(t.Context(), failing("too bad"))
	defer release()
	after, release := s.Note(t.Context(), noting(2, 1))
	defer release()
	if _, err := after.Struct(); err != nil {
		t.Errorf("the call behind the panic: %v", err)
	}
	p.let <- struct{}{}
	if _, err := waiting.Struct(); err != nil {
		t.Errorf("the call that waited over the panic: %v", err)
	}
	p.wantOrder(t, 2, 1)
	_, err := panicked.Struct()
	wantError(t, err, exc.Failed, "panicked: too bad")
}

func TestWatchSaysWhy(t *testing.T) {
	c := newCluster(t, "host", "guest")
	p, unused := newProbe("short-lived")
	defer unused.Release()
	s, err := Spawn[testapi.Probe](c.byName["host"], testapi.Probe_Methods, func() testapi.Probe_Server { return selfish{p, nil} },
		Named("short-lived"), Supervised(actors.Policy{On: actors.Stop}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if err := keepOn(t.Context(), c.locals["host"], s); err != nil {
		t.Fatal(err)
	}
	kept, release := c.bootstrap("guest", "host").Kept(t.Context(), nil)
	res, err := kept.Struct()
	if err != nil {
		t.Fatal(err)
	}
	remote := res.Probe().AddRef()
	defer remote.Release()
	release()

	watchers := map[string]<-chan error{
		"here":             c.byName["host"].Watch(t.Context(), capnp.Client(s)),
		"there":            c.byName["guest"].Watch(t.Context(), capnp.Client(remote)),
		"there, once more": c.byName["guest"].Watch(t.Context(), capnp.Client(remote)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := c.byName["guest"].Watch(ctx, capnp.Client(remote))
	cancel()
	if why, told := <-gone; told {
		t.Errorf("a watcher that has ended its context was told %v", why)
	}
	_, release = s.Fail(t.Context(), failing("too bad"))
	defer release()
	const want = "object/short-lived has stopped: too bad"
	for name, told := range watchers {
		if why := arrives(t, "word to who watches "+name, told); why == nil || why.Error() != want || exc.TypeOf(why) != exc.Failed {
			t.Errorf("who watches %s was told %v (%v), want %q", name, why, exc.TypeOf(why), want)
		}
		if why, again := <-told; again {
			t.Errorf("who watches %s was told twice: %v", name, why)
		}
	}
	if why := <-c.byName["guest"].Watch(t.Context(), capnp.Client{}); why == nil {
		t.Error("null is not broken")
	}
	if err := keepOn(t.Context(), c.locals["host"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}
