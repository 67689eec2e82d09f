package vat

import (
	"context"
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

// A promise is let go while its Resolve to an object of the caller's own waits in the mailbox: no Disembargo may
// go out behind the Release.
func TestReferenceLetGoBeforeItsResolveIsTaken(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	p, resolver := c.promiseAt("bob")
	p.Release()
	own := c.ready("bob", "alice")
	kept, release := c.ready("alice", "bob").Kept(t.Context(), nil)
	res, err := kept.Struct()
	if err != nil {
		t.Fatal(err)
	}
	ref := res.Probe().AddRef()
	release()
	ans, releaseNote := ref.Note(t.Context(), noting(1, 1)) // used: it takes an embargo
	defer releaseNote()
	if err := keepOn(t.Context(), c.locals["bob"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
	s := c.session("alice", "bob")
	busy, proceed := make(chan struct{}), make(chan struct{})
	s.queue.WaitIdle() // or who reads frames runs that turn, and reads no Resolve
	go s.inspect(func(*session) { close(busy); <-proceed })
	arrives(t, "a turn", busy)
	resolver.Fulfill(own.AddRef())
	eventually(t, saying("the Resolve in the mailbox"), func() bool { return s.queue.UserMessageCount() > 0 })
	ref.Release()
	close(proceed)
	if _, err := ans.Struct(); err != nil {
		t.Fatal(err)
	}
	if _, err := echoOn(t.Context(), own, nil); err != nil { // behind what alice has sent
		t.Fatal(err)
	}
	if s.end.Load() != nil {
		t.Fatalf("the session ended: %v", s.why())
	}
}

// Results with an object of the caller's own come when he has given up: there is nothing to hold back, and
// nothing is left of them.
func TestCallerGivesUpBeforeItsOwnObjectIsReturned(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	if err := keepOn(t.Context(), c.locals["bob"], c.ready("bob", "alice")); err != nil {
		t.Fatal(err)
	}
	c.link("bob", "alice").Hold()
	ctx, cancel := context.WithCancel(t.Context())
	kept, release := bob.Kept(ctx, nil)
	note, releaseNote := kept.Probe().Note(ctx, noting(1, 1))
	returns := message{"bob", true, "alice", rpc.Message_Which_return}
	before := c.count(returns)
	eventually(t, saying("the Return"), func() bool { return c.count(returns) > before || c.link("bob", "alice").Held() > 0 })
	cancel()
	if _, err := note.Struct(); err == nil {
		t.Fatal("a canceled call succeeded")
	}
	releaseNote()
	release()
	c.link("bob", "alice").Free()
	if err := keepOn(t.Context(), c.locals["bob"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}
