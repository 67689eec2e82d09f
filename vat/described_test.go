package vat

import (
	"testing"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// What was sent as a promise is sent again after it has settled, and before its Resolve: it is a promise still, to
// a peer that may have released it in between, or has an export of its own.
func TestPromiseIsSentAgainBeforeItsResolve(t *testing.T) {
	c := newCluster(t, "alice", "bob", "carol")
	c.dirty = true
	c.ready("alice", "bob")
	c.ready("bob", "carol")
	c.link("carol", "bob").Hold()
	at := capnp.Client(c.bootstrap("bob", "carol"))
	snap := at.Snapshot()
	ref := snap.Brand().Value.(*reference)
	v := c.byName["bob"]
	describe := func(s *session) rpc.CapDescriptor {
		d := must(rpc.NewRootCapDescriptor(newMessage().Segment()))
		s.describeOwn(d, v.pinClient(at))
		return d
	}
	var first, second rpc.CapDescriptor
	c.session("bob", "alice").inspect(func(s *session) { first = describe(s) })
	worker := make(chan struct{})
	v.later(func() { <-worker })
	done := make(chan struct{})
	c.session("bob", "alice").inspect(func(s *session) {
		c.link("carol", "bob").Free()
		eventually(t, saying("carol's bootstrap"), ref.settled)
		second = describe(s)
		close(done)
	})
	close(worker)
	arrives(t, "the second description", done)
	one, _ := exportIn(first)
	two, _ := exportIn(second)
	if first.Which() != rpc.CapDescriptor_Which_senderPromise || one == two && second.Which() != first.Which() {
		t.Errorf("sent as %v %d, and then as %v %d", first.Which(), one, second.Which(), two)
	}
	snap.Release()
}
