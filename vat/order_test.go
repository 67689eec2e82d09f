package vat

import (
	"fmt"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A promise of go-capnp's that is returned: what was pipelined on the answer, and what is called on the import
// that came of it, arrive in order.
func TestOrderOnAnExportedLocalPromise(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			p, resolver := capnp.NewLocalPromise[testapi.Probe]()
			c.keep("bob", p)
			bob := c.ready("alice", "bob")
			object, client := newProbe("object")
			var calls sync.WaitGroup
			note := func(p testapi.Probe, n uint32) {
				ans, release := p.Note(t.Context(), noting(1, n))
				calls.Go(func() {
					defer release()
					if _, err := ans.Struct(); err != nil {
						t.Error(err)
					}
				})
			}
			kept, release := bob.Kept(t.Context(), nil)
			defer release()
			at := kept.Probe()
			for n := range uint32(10) {
				note(at, n+1)
			}
			if _, err := kept.Struct(); err != nil {
				t.Fatal(err)
			}
			for n := range uint32(10) {
				note(at, n+11)
			}
			if n := c.byName["bob"].Tables().Promises; n != 1 {
				t.Errorf("%d promises stand for the one that is exported", n)
			}
			resolver.Fulfill(client)
			calls.Wait()
			object.wantOrder(t, 1, 20)
			p.Release()
		})
	}
}

// A promise that the peer sends twice resolves for all who hold it, however they came by it.
func TestResolutionReachesEveryReference(t *testing.T) {
	for name, fulfil := range map[string]func(*cluster) testapi.Probe{
		"to an object of the peer's": func(c *cluster) testapi.Probe {
			_, client := newProbe("object")
			return client
		},
		"to an object of ours": func(c *cluster) testapi.Probe { return c.ready("bob", "alice").AddRef() },
		"to a third vat's":     func(c *cluster) testapi.Probe { return c.ready("bob", "carol").AddRef() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob", "carol")
			p, resolver := c.promiseAt("bob")
			p.Release()
			bob := c.ready("alice", "bob")
			var refs []testapi.Probe
			for range 3 {
				kept, release := bob.Kept(t.Context(), nil)
				ref := kept.Probe().AddRef()
				defer ref.Release()
				refs = append(refs, ref)
				if _, err := kept.Struct(); err != nil {
					t.Fatal(err)
				}
				release()
			}
			resolver.Fulfill(fulfil(c))
			for i, ref := range refs {
				if err := noteOn(t.Context(), ref, uint32(i), 1); err != nil {
					t.Error(err)
				}
				// Not Resolve: go-capnp fulfils only clients that share the cursor of the first.
				snap := capnp.Client(ref).Snapshot()
				defer snap.Release()
				if r, ok := snap.Brand().Value.(*reference); ok {
					eventually(t, saying("the reference settles"), func() bool { return !r.isPromise || r.settled() })
				}
				if err := noteOn(t.Context(), ref, uint32(i), 2); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
