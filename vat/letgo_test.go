package vat

import (
	"testing"

	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// What was called on a reference goes out ahead of the news that it was let go, also where both wait for the
// connection.
func TestReferenceLetGoBeforeTheSessionIsOpen(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	for i := range uint32(20) {
		p := c.bootstrap("alice", "bob")
		last := p.AddRef()
		p.Release()
		ans, release := last.Note(t.Context(), noting(i, 1))
		last.Release()
		if _, err := ans.Struct(); err != nil {
			t.Fatal(err)
		}
		release()
		c.byName["alice"].EndSession(id("bob"), "the next one dials anew")
		c.settle()
	}
}

// What was called on a reference that is being handed off is delivered, also where the reference is let go before
// the Accept has arrived: the introducer withdraws the provision no earlier.
func TestReferenceLetGoBeforeItsAcceptArrives(t *testing.T) {
	c := newCluster(t, "alice", "bob", "carol")
	p, resolver := c.promiseAt("bob")
	p.Release()
	bob := c.ready("alice", "bob")
	c.ready("alice", "carol")
	kept, release := bob.Kept(t.Context(), nil)
	res, err := kept.Struct()
	if err != nil {
		t.Fatal(err)
	}
	ref := res.Probe().AddRef()
	release()
	c.link("alice", "carol").Hold()
	resolver.Fulfill(c.ready("bob", "carol").AddRef())
	accepts := message{"alice", true, "carol", rpc.Message_Which_accept}
	eventually(t, saying("an Accept"), func() bool { return c.count(accepts) == 1 })
	ans, releaseNote := ref.Note(t.Context(), noting(1, 1))
	defer releaseNote()
	if err := keepOn(t.Context(), c.locals["bob"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
	ref.Release()
	ready, releaseEcho := bob.Echo(t.Context(), nil) // behind what alice has sent bob meanwhile
	if _, err := ready.Struct(); err != nil {
		t.Fatal(err)
	}
	releaseEcho()
	there, releaseThere := c.ready("bob", "carol").Echo(t.Context(), nil)
	if _, err := there.Struct(); err != nil {
		t.Fatal(err)
	}
	releaseThere()
	c.link("alice", "carol").Free()
	if _, err := ans.Struct(); err != nil {
		t.Fatal(err)
	}
	c.objects["carol"].wantOrder(t, 1, 1)
}
