package vat

import (
	"errors"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// promiseAt has the probe of a vat hold a new promise of that vat.
func (c *cluster) promiseAt(at string) (testapi.Probe, capnp.Resolver[testapi.Probe]) {
	c.t.Helper()
	p, resolver := NewPromise[testapi.Probe](c.byName[at])
	c.keep(at, p)
	return p, resolver
}

// keep has the probe of a vat hold x until the end of the test.
func (c *cluster) keep(at string, x testapi.Probe) {
	c.t.Helper()
	if err := keepOn(c.t.Context(), c.locals[at], x); err != nil {
		c.t.Fatal(err)
	}
	c.atEnd(c.objects[at].letGo)
}

// letGo has p hold nothing.
func (p *probe) letGo() {
	p.mu.Lock()
	old := p.held
	p.held = testapi.Probe{}
	p.mu.Unlock()
	old.Release()
}

// A promise can be fulfilled with anything; calls that wait, local and remote, and calls on calls, go there.
func TestPromiseFulfilled(t *testing.T) {
	mine := func(c *cluster) (testapi.Probe, *probe) {
		p, client := newProbe("fulfilled")
		return client, p
	}
	cases := map[string]struct {
		fulfil func(c *cluster) (testapi.Probe, *probe)
		want   exc.Type
		text   string
	}{
		"a local object": {fulfil: mine},
		"null":           {fulfil: func(*cluster) (testapi.Probe, *probe) { return testapi.Probe{}, nil }, text: "null"},
		"an error": {fulfil: func(*cluster) (testapi.Probe, *probe) {
			return testapi.Probe(capnp.ErrorClient(exc.New(exc.Overloaded, "", "no room"))), nil
		}, want: exc.Overloaded, text: "no room"},
		"a capability of the caller's": {fulfil: func(c *cluster) (testapi.Probe, *probe) {
			return c.ready("bob", "alice").AddRef(), c.objects["alice"]
		}},
		"a capability of a third vat": {fulfil: func(c *cluster) (testapi.Probe, *probe) {
			return c.ready("bob", "carol").AddRef(), c.objects["carol"]
		}},
		"an unresolved bootstrap": {fulfil: func(c *cluster) (testapi.Probe, *probe) {
			return c.bootstrap("bob", "carol").AddRef(), c.objects["carol"]
		}},
		"a promise that is fulfilled": {fulfil: func(c *cluster) (testapi.Probe, *probe) {
			q, resolver := NewPromise[testapi.Probe](c.byName["bob"])
			client, p := mine(c)
			resolver.Fulfill(client)
			return q, p
		}},
		"a promise that is fulfilled later": {fulfil: func(c *cluster) (testapi.Probe, *probe) {
			q, resolver := NewPromise[testapi.Probe](c.byName["bob"])
			client, p := mine(c)
			go resolver.Fulfill(client)
			return q, p
		}},
		"a local promise of go-capnp's": {fulfil: func(c *cluster) (testapi.Probe, *probe) {
			q, resolver := capnp.NewLocalPromise[testapi.Probe]()
			client, p := mine(c)
			resolver.Fulfill(client)
			return q, p
		}},
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob", "carol")
			p, resolver := c.promiseAt("bob")
			bob := c.ready("alice", "bob")
			kept, releaseKept := bob.Kept(t.Context(), nil)
			t.Cleanup(releaseKept)
			remote := kept.Probe().AddRef()
			defer remote.Release()
			defer p.Release()

			far, releaseFar := remote.Note(t.Context(), noting(1, 1))
			defer releaseFar()
			deep, releaseDeep := remote.Self(t.Context(), nil)
			defer releaseDeep()
			deeper, releaseDeeper := deep.Probe().Note(t.Context(), noting(3, 1))
			defer releaseDeeper()
			near, releaseNear := p.Note(t.Context(), noting(2, 1))
			defer releaseNear()

			to, object := x.fulfil(c)
			resolver.Fulfill(to)

			for _, call := range []func() error{
				func() error { _, err := far.Struct(); return err },
				func() error { _, err := deep.Struct(); return err },
				func() error { _, err := deeper.Struct(); return err },
				func() error { _, err := near.Struct(); return err },
				func() error { return noteOn(t.Context(), remote, 1, 2) },
				func() error { return noteOn(t.Context(), p, 2, 2) },
			} {
				err := call()
				if object != nil && err != nil {
					t.Errorf("call: %v", err)
				}
				if object == nil {
					wantError(t, err, x.want, x.text)
				}
			}
			if object == nil {
				return
			}
			last := map[uint32]uint32{}
			for _, n := range object.seen() {
				if n.n <= last[n.from] {
					t.Errorf("out of order: %v", object.seen())
				}
				last[n.from] = n.n
			}
			if last[1] != 2 || last[2] != 2 || last[3] != 1 {
				t.Errorf("noted %v", object.seen())
			}
		})
	}
}

func TestPromiseRejected(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	p, resolver := c.promiseAt("bob")
	defer p.Release()
	bob := c.ready("alice", "bob")
	kept, release := bob.Kept(t.Context(), nil)
	defer release()
	ans, release := kept.Probe().Note(t.Context(), noting(1, 1))
	defer release()
	resolver.Reject(exc.New(exc.Unimplemented, "", "not in this life"))
	_, err := ans.Struct()
	wantError(t, err, exc.Unimplemented, "not in this life")
	wantError(t, noteOn(t.Context(), p, 1, 1), exc.Unimplemented, "not in this life")
}

// Promises that lead to each other break, and say so.
func TestPromiseCycle(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	p, resolveP := c.promiseAt("bob")
	defer p.Release()
	q, resolveQ := NewPromise[testapi.Probe](c.byName["bob"])
	defer q.Release()
	bob := c.ready("alice", "bob")
	kept, release := bob.Kept(t.Context(), nil)
	defer release()
	far, release := kept.Probe().Note(t.Context(), noting(1, 1))
	defer release()
	near, release := q.Note(t.Context(), noting(1, 1))
	defer release()
	resolveP.Fulfill(q.AddRef())
	resolveQ.Fulfill(p.AddRef())
	_, err := far.Struct()
	wantError(t, err, exc.Failed, "itself")
	_, err = near.Struct()
	wantError(t, err, exc.Failed, "itself")
}

func TestPromiseFulfilledWithItself(t *testing.T) {
	c := newCluster(t, "bob")
	p, resolver := NewPromise[testapi.Probe](c.byName["bob"])
	defer p.Release()
	ans, release := p.Note(t.Context(), noting(1, 1))
	defer release()
	resolver.Fulfill(p.AddRef())
	_, err := ans.Struct()
	wantError(t, err, exc.Failed, "itself")
}

// A promise that nobody holds any more can still be fulfilled; what it is given is released.
func TestPromiseDroppedBeforeItsFulfilment(t *testing.T) {
	c := newCluster(t, "bob")
	p, resolver := NewPromise[testapi.Probe](c.byName["bob"])
	object, client := newProbe("late")
	p.Release()
	resolver.Fulfill(client)
	arrives(t, "the shutdown of the object", object.down)
}

func TestPromiseFulfilledTwice(t *testing.T) {
	c := newCluster(t, "bob")
	p, resolver := NewPromise[testapi.Probe](c.byName["bob"])
	defer p.Release()
	resolver.Reject(errors.New("once"))
	defer func() {
		if recover() == nil {
			t.Errorf("a second Reject did not panic")
		}
	}()
	resolver.Reject(errors.New("twice"))
}

// Calls of a peer wait with us on a promise of go-capnp's, whose own queue would panic on what comes here.
func TestLocalPromiseExported(t *testing.T) {
	for name, null := range map[string]bool{"null": true, "an object": false} {
		t.Run("fulfilled with "+name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			p, resolver := capnp.NewLocalPromise[testapi.Probe]()
			c.keep("bob", p)
			bob := c.ready("alice", "bob")
			kept, release := bob.Kept(t.Context(), nil)
			defer release()
			remote := kept.Probe()
			self, release := remote.Self(t.Context(), nil)
			defer release()
			deep, release := self.Probe().Note(t.Context(), noting(1, 1))
			defer release()
			eventually(t, saying("the calls wait at bob"), func() bool {
				n := c.byName["bob"].Tree().find("promise")
				return n != nil && n.Waiting == 1
			})
			object, client := newProbe("object")
			if null {
				client.Release()
				client = testapi.Probe{}
			}
			resolver.Fulfill(client)
			_, err := deep.Struct()
			switch {
			case null:
				wantError(t, err, exc.Failed, "null")
			case err != nil:
				t.Fatal(err)
			}
			if !null {
				object.wantOrder(t, 1, 1)
			}
			p.Release()
		})
	}
}

// A call on a promise of a vat that is closed fails as one on anything else of it.
func TestPromiseOfAClosedVat(t *testing.T) {
	c := newCluster(t, "alice")
	c.dirty = true
	p, _ := c.promiseAt("alice")
	c.byName["alice"].Close()
	ans, release := p.Note(t.Context(), nil)
	defer release()
	if _, err := ans.Struct(); exc.TypeOf(err) != exc.Disconnected {
		t.Errorf("the call ended with %v", err)
	}
	p.Release()
}

// A promise that outlives its vat lets go of what it resolved to all the same.
func TestResolvedPromiseOfAClosedVat(t *testing.T) {
	c := newCluster(t, "alice")
	c.dirty = true
	v := c.byName["alice"]
	p, resolver := NewPromise[testapi.Probe](v)
	next, _ := NewPromise[testapi.Probe](v)
	pinned := v.pinClient(capnp.Client(p))
	resolver.Fulfill(next)
	p.Release()
	v.Close()
	pinned.free()
	eventually(t, v.Tree().String, func() bool { return v.Tables().Promises == 0 })
}
