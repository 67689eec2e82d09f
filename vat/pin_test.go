package vat

import (
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
)

// toldOfShutdown is what a server of go-capnp's, on a goroutine of its own, lets go of.
type toldOfShutdown chan struct{}

func (c toldOfShutdown) Shutdown() { close(c) }

// Of pins of one capability the last lets go of it, and alone needs the worker: for there is a Shutdown of the user's.
func TestTheLastPinIsLeftToTheWorker(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	ended := make(toldOfShutdown)
	client := capnp.NewClient(server.New(nil, nil, ended))
	first := v.pinClient(client)
	client.Release()
	second := first.again()
	if left, more := first.freeHere(); more {
		t.Errorf("of a pin that is not the last there is left: %+v", left)
	}
	left, more := second.freeHere()
	if !more {
		t.Fatal("the last was let go of within a turn")
	}
	left.free()
	<-ended
}

// A vine has no client until it is to be named: then it has one, and is held by that too.
func TestVineIsNamedLate(t *testing.T) {
	s, _ := plainSession(t, true)
	vine, err := s.importPin(7)
	if err != nil || vine.snap.IsValid() {
		t.Fatalf("a client for a vine that nobody uses, or: %v", err)
	}
	named := vine.again().named(s.vat)
	if to, ok := named.road.(*importRef); !ok || to != vine.road || !named.snap.IsValid() {
		t.Errorf("named, the vine is %+v", named)
	}
	named.free()
	vine.free()
	if n := vine.road.(*importRef).holds.Load(); n != 0 {
		t.Errorf("%d hold a vine that everybody has let go of", n)
	}
	settleAll(t, s)
	if n := s.imports.len(); n != 0 {
		t.Errorf("%d imports are left", n)
	}
}

// What a reference settled on is kept for those who had pinned the reference before. Who pins it later, for its client
// leads there still, keeps that himself: a promise would be over once they have let go, and with it what is put on it.
func TestPinOfAReferenceThatHasSettledOnAPromise(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	object, promise := v.newPromise()
	client, ref := v.newReference(brokenRoad{errNull}, true)
	before := v.pinClient(client)

	// As a peer names it by our export, when callers follow past it already.
	exported := v.pinClient(object)
	promise.resolve(capnp.ErrorClient(errNull))
	after := pinnedUnaware(v, client, ref, exported)

	before.free()
	client.Release()
	object.Release()
	v.worker.Wait()
	if promise.unresolved() {
		t.Error("the promise is over, and was pinned")
	}
	after.free()
}

// pinnedUnaware settles ref on to, and is a pin on its client that was made before that learnt of it.
func pinnedUnaware(v *Vat, client capnp.Client, ref *reference, to pin) pin {
	hold, held := make(chan struct{}), make(chan struct{})
	v.later(func() { close(held); <-hold })
	<-held
	defer close(hold)
	ref.settleOn(to)
	return v.pinClient(client)
}

// The same where it settled on a reference that has settled, which its callers follow past.
func TestPinOfAReferenceThatHasSettledOnAnother(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	object, other := v.newReference(brokenRoad{errNull}, true)
	client, ref := v.newReference(brokenRoad{errNull}, true)
	before, exported := v.pinClient(client), v.pinClient(object)
	other.breakWith(errNull)
	v.worker.Wait() // callers know
	after := pinnedUnaware(v, client, ref, exported)

	for _, let := range []func(){before.free, client.Release, object.Release} {
		let()
	}
	v.worker.Wait()
	if other.isShut() {
		t.Error("the other reference was let go of, and is pinned")
	}
	after.free()
	v.worker.Wait()
	if !other.isShut() {
		t.Error("the other reference is not let go of")
	}
}

func (r *reference) isShut() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.shut
}
