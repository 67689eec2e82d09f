package vat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// callers call note on one reference from many goroutines, each of which numbers its calls, without waiting for
// them. They can be stopped at any time.
type callers struct {
	t     *testing.T
	stop  chan struct{}
	group sync.WaitGroup
	calls sync.WaitGroup
	mu    sync.Mutex
	made  map[uint32]uint32 // calls of each goroutine
}

// startCallers has n goroutines call ref, each up to most times.
func startCallers(t *testing.T, ref func() testapi.Probe, n, most int) *callers {
	c := &callers{t: t, stop: make(chan struct{}), made: map[uint32]uint32{}}
	for from := range uint32(n) {
		c.group.Go(func() { c.call(ref, from, most) })
	}
	return c
}

func (c *callers) call(ref func() testapi.Probe, from uint32, most int) {
	p := ref()
	defer p.Release()
	for i := range uint32(most) {
		select {
		case <-c.stop:
			return
		default:
		}
		ans, release := p.Note(context.Background(), noting(from, i+1))
		c.mu.Lock()
		c.made[from] = i + 1
		c.mu.Unlock()
		c.calls.Go(func() {
			defer release()
			if _, err := ans.Struct(); err != nil {
				c.t.Errorf("call %d of %d: %v", i+1, from, err)
			}
		})
		if i%7 == 0 {
			runtime.Gosched()
		}
	}
}

// finish stops the callers, waits for their calls, and checks what the object saw.
func (c *callers) finish(object *probe) {
	c.t.Helper()
	close(c.stop)
	c.group.Wait()
	done := make(chan struct{})
	go func() { c.calls.Wait(); close(done) }()
	arrives(c.t, "the end of all calls", done)
	last := map[uint32]uint32{}
	for _, x := range object.seen() {
		if x.n != last[x.from]+1 {
			c.t.Fatalf("%s got call %d of goroutine %d after %d", object.name, x.n, x.from, last[x.from])
		}
		last[x.from] = x.n
	}
	for from, made := range c.made {
		if last[from] != made {
			c.t.Fatalf("%s got %d calls of goroutine %d, which made %d", object.name, last[from], from, made)
		}
	}
}

// What a promise of bob's resolves to while alice calls on it.
var resolutions = map[string]func(c *cluster) (testapi.Probe, *probe){
	"bob's own object": func(c *cluster) (testapi.Probe, *probe) { return c.locals["bob"].AddRef(), c.objects["bob"] },
	"loopback":         func(c *cluster) (testapi.Probe, *probe) { return c.ready("bob", "alice").AddRef(), c.objects["alice"] },
	"third party":      func(c *cluster) (testapi.Probe, *probe) { return c.ready("bob", "carol").AddRef(), c.objects["carol"] },
	"an unresolved bootstrap": func(c *cluster) (testapi.Probe, *probe) {
		return c.bootstrap("bob", "carol").AddRef(), c.objects["carol"]
	},
	"a promise of carol's, to carol's": func(c *cluster) (testapi.Probe, *probe) {
		return c.promised("bob", "carol", c.locals["carol"].AddRef()), c.objects["carol"]
	},
	"a promise of carol's, to alice's": func(c *cluster) (testapi.Probe, *probe) {
		return c.promised("bob", "carol", c.ready("carol", "alice").AddRef()), c.objects["alice"]
	},
	"a promise of carol's, to bob's": func(c *cluster) (testapi.Probe, *probe) {
		return c.promised("bob", "carol", c.ready("carol", "bob").AddRef()), c.objects["bob"]
	},
	"a promise of carol's, to dave's": func(c *cluster) (testapi.Probe, *probe) {
		return c.promised("bob", "carol", c.ready("carol", "dave").AddRef()), c.objects["dave"]
	},
}

// promised is a promise of one vat's as another holds it, which is resolved to x at some time soon.
func (c *cluster) promised(at, of string, x testapi.Probe) testapi.Probe {
	c.t.Helper()
	p, resolver := c.promiseAt(of)
	p.Release()
	kept, release := c.ready(at, of).Kept(c.t.Context(), nil)
	defer release()
	res, err := kept.Struct()
	if err != nil {
		c.t.Fatal(err)
	}
	ref := res.Probe().AddRef()
	c.atEnd(ref.Release)
	go func() {
		for range rand.IntN(200) {
			runtime.Gosched()
		}
		resolver.Fulfill(x)
	}()
	return ref.AddRef()
}

// Goroutines call on a reference all the while that it resolves: each one's calls arrive in its order, each once.
func TestOrderWhileAReferenceResolves(t *testing.T) {
	for name, resolve := range resolutions {
		t.Run(name, func(t *testing.T) {
			for range loops(4) {
				testOrder(t, resolve, nil)
			}
		})
	}
}

// The same, with each link held for a while.
func TestOrderWithALinkHeld(t *testing.T) {
	names := []string{"alice", "bob", "carol"}
	for name, resolve := range resolutions {
		t.Run(name, func(t *testing.T) {
			for _, from := range names {
				for _, to := range names {
					if from != to {
						testOrder(t, resolve, func(c *cluster) *transport.Link { return c.link(from, to) })
					}
				}
			}
		})
	}
}

func loops(n int) int {
	if testing.Short() {
		return 1
	}
	return n
}

func testOrder(t *testing.T, resolve func(*cluster) (testapi.Probe, *probe), hold func(*cluster) *transport.Link) {
	t.Helper()
	c := newCluster(t, "alice", "bob", "carol", "dave")
	p, resolver := c.promiseAt("bob")
	p.Release()
	bob := c.ready("alice", "bob")
	kept, release := bob.Kept(t.Context(), nil)
	at := kept.Probe()
	calls := startCallers(t, at.AddRef, 4, 50)
	to, object := resolve(c)
	if hold != nil {
		hold(c).Hold()
	}
	for range rand.IntN(300) {
		runtime.Gosched()
	}
	resolver.Fulfill(to)
	for range rand.IntN(300) {
		runtime.Gosched()
	}
	if hold != nil {
		// Freed by whoever comes last, with calls under way.
		for range 2000 {
			runtime.Gosched()
		}
		hold(c).Free()
	}
	calls.group.Wait()
	calls.finish(object)
	release()
	at.Release()
	c.shut()
}

// A reference is handed on from vat to vat while it is used, each time as parameter, result and promise.
func TestHandoffsInALoop(t *testing.T) {
	c := newCluster(t, "alice", "bob", "carol")
	object, client := newProbe("object")
	defer client.Release()
	c.keep("carol", client)
	carol := c.ready("bob", "carol")
	bob := c.ready("alice", "bob")
	for i := range uint32(loops(100)) {
		kept, release := carol.Kept(t.Context(), nil)
		p, resolver := NewPromise[testapi.Probe](c.byName["bob"])
		if err := keepOn(t.Context(), c.locals["bob"], p); err != nil {
			t.Fatal(err)
		}
		p.Release()
		got, releaseGot := bob.Kept(t.Context(), nil)
		at := got.Probe()
		var releases []capnp.ReleaseFunc
		var answers []testapi.Probe_note_Results_Future
		for n := range uint32(10) {
			if n == 5 {
				resolver.Fulfill(kept.Probe().AddRef())
			}
			ans, r := at.Note(t.Context(), noting(i, n+1))
			answers, releases = append(answers, ans), append(releases, r)
		}
		for _, a := range answers {
			if _, err := a.Struct(); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range append(releases, release, releaseGot) {
			r()
		}
	}
	object.wantOrder(t, loops(100), 10)
	if err := keepOn(t.Context(), c.locals["bob"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}

// A chain of vats: each passes on a promise of the next one's, and they resolve in any order.
func TestChainOfPromises(t *testing.T) {
	for range loops(4) {
		testChain(t)
	}
}

func testChain(t *testing.T) {
	c := newCluster(t, "v0", "v1", "v2", "v3", "v4")
	const last = 4
	var resolvers [last]capnp.Resolver[testapi.Probe]
	for i := 1; i < last; i++ {
		p, r := c.promiseAt(fmt.Sprintf("v%d", i))
		p.Release()
		resolvers[i] = r
	}
	object, client := newProbe("object")
	c.keep("v4", client)
	client.Release()
	var releases []capnp.ReleaseFunc
	kept := func(i int) testapi.Probe { // what v(i+1) holds, at v(i)
		ans, release := c.ready(fmt.Sprintf("v%d", i), fmt.Sprintf("v%d", i+1)).Kept(t.Context(), nil)
		releases = append(releases, release)
		return ans.Probe()
	}
	at := kept(0)
	calls := startCallers(t, at.AddRef, 3, 100)
	for _, i := range rand.Perm(last - 1) {
		resolvers[i+1].Fulfill(kept(i + 1).AddRef())
	}
	calls.group.Wait()
	calls.finish(object)
	for _, r := range releases {
		r()
	}
	c.shut()
}
