//go:build sim

package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/simapi"
)

// A trouble is how much is broken on purpose. Each has those before it.
type trouble int

const (
	none   trouble = iota // links are held for a while: nothing may be lost
	calls                 // calls are canceled, fail, panic: no other call may be touched
	breaks                // promises break, links are cut, vats close
)

// plan is what a seed decides about a run as a whole.
type plan struct {
	seed    uint64
	vats    int
	drivers int // of each vat
	steps   int // of each driver
	trouble trouble
	native  bool // objects are servers of go-capnp, some of them, and not of Spawn
	early   bool // methods return early
	level1  bool // one of the vats knows no handoff
}

func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	trouble := trouble(r.IntN(3))
	return plan{
		seed:    seed,
		vats:    3 + r.IntN(3),
		drivers: 1 + r.IntN(3),
		steps:   10 + r.IntN(60),
		trouble: trouble,
		native:  r.IntN(3) == 0 && trouble < breaks,
		early:   r.IntN(2) == 0,
		level1:  r.IntN(4) == 0,
	}
}

// world is one run.
type world struct {
	t       *testing.T
	plan    plan
	memory  *transport.Memory
	members []*member
	oracle  oracle

	refs     atomic.Uint32 // reference ids given
	heights  atomic.Uint64 // promise numbers given
	hurry    chan struct{} // closed: everything that takes its time is to end
	drivers  tasks
	answers  tasks // calls that were made and not answered
	promises tasks // that were not resolved
	failures atomic.Int64
	alive    atomic.Int64 // objects made and not shut down
}

// member is a vat, with what its local code holds.
type member struct {
	w     *world
	name  string
	vat   *vat.Vat
	root  simapi.Node
	spawn func() (simapi.Node, error)

	mu     sync.Mutex
	rand   *rand.Rand
	pool   []*ref
	closed bool
}

// ref is a reference. Whoever has taken it out of the pool is the only one to use it.
type ref struct {
	id     uint32
	seq    uint32
	node   simapi.Node
	height uint64
}

func id(name string) transport.VatID { return transport.VatID("plain:" + name) }

// run is a whole run, in a bubble of its own.
func run(t *testing.T, p plan) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, plan: p, memory: transport.NewMemory(), hurry: make(chan struct{})}
		w.oracle.init(w)
		for i := range p.vats {
			w.start(fmt.Sprintf("v%d", i), i)
		}
		weather := make(chan struct{})
		var clouds sync.WaitGroup
		clouds.Go(func() { w.weather(weather) })
		for i, m := range w.members {
			for d := range p.drivers {
				w.drivers.Go(func() { m.drive(rand.New(rand.NewPCG(p.seed, uint64(100+i*10+d)))) })
			}
		}
		w.wait("the drivers", &w.drivers)
		close(weather)
		clouds.Wait()
		w.end()
	})
}

func (w *world) start(name string, i int) {
	m := &member{w: w, name: name, rand: rand.New(rand.NewPCG(w.plan.seed, uint64(1000+i)))}
	tcfg := transport.Config{Name: name, Logger: quiet}
	if w.plan.level1 && i == 1 {
		tcfg.Features = transport.FeatureKeptResults
	}
	network, err := w.memory.Vat(name, tcfg)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := vat.Config{
		Network:   network,
		Directory: w.memory,
		Logger:    quiet,
		Tap: func(e vat.TapEvent) {
			if *traced {
				fmt.Println(line(name, e))
			}
			if rand.IntN(3) == 0 {
				runtime.Gosched()
			}
		},
		Serve: func(v *vat.Vat) (capnp.Client, error) {
			m.vat = v
			c, err := m.newObject()
			m.root = c
			return capnp.Client(c.AddRef()), err
		},
	}
	if w.plan.early {
		for method := range uint16(7) {
			if method >= 2 {
				cfg.EarlyReturn = append(cfg.EarlyReturn, vat.EarlyReturn{
					Interface: simapi.Node_TypeID, Method: method, Caps: [][]uint16{{0}},
				})
			}
		}
	}
	if m.vat, err = vat.New(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.members = append(w.members, m)
}

var quiet = slog.New(slog.DiscardHandler)

// newObject makes an object of the member's.
func (m *member) newObject() (simapi.Node, error) {
	o := &object{m: m, id: m.w.oracle.newObject()}
	m.w.alive.Add(1)
	if m.w.plan.native && o.id%2 == 0 {
		return simapi.Node_ServerToClient(o), nil
	}
	made := false
	c, err := vat.Spawn[simapi.Node](m.vat, simapi.Node_Methods, func() simapi.Node_Server {
		if made {
			m.w.alive.Add(1)
		}
		made = true
		return o
	}, vat.Supervised(actors.Policy{Restarts: 1 << 20, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}))
	if err != nil {
		m.w.alive.Add(-1)
	}
	return c, err
}

// add puts a reference into the pool, which takes it over.
func (m *member) add(n simapi.Node, height uint64, how string) {
	r := &ref{id: m.w.refs.Add(1), node: n, height: height}
	m.w.oracle.born(r.id, "at %s, by %s", m.name, how)
	m.back(r)
}

// back puts one back that was taken out. When the pool is full another goes.
func (m *member) back(r *ref) {
	m.mu.Lock()
	m.pool = append(m.pool, r)
	var gone *ref
	if m.closed {
		gone, m.pool = r, nil
	} else if len(m.pool) > 12 {
		i := m.rand.IntN(len(m.pool))
		gone = m.pool[i]
		m.pool = append(m.pool[:i], m.pool[i+1:]...)
	}
	m.mu.Unlock()
	if gone != nil {
		gone.node.Release()
	}
}

// out takes a reference of at most the height out of the pool; a new one to the root where there is none.
func (m *member) out(height uint64) *ref {
	m.mu.Lock()
	for _, i := range m.rand.Perm(len(m.pool)) {
		if r := m.pool[i]; r.height <= height {
			m.pool = append(m.pool[:i], m.pool[i+1:]...)
			m.mu.Unlock()
			return r
		}
	}
	m.mu.Unlock()
	r := &ref{id: m.w.refs.Add(1), node: m.root.AddRef()}
	m.w.oracle.born(r.id, "at %s, the root", m.name)
	return r
}

// copyOf is one more capability for something that is held, of at most the height.
func (m *member) copyOf(height uint64) (simapi.Node, uint64) {
	r := m.out(height)
	n := r.node.AddRef()
	m.back(r)
	return n, r.height
}

// promise makes a promise with a number, that will be resolved to something lower.
func (m *member) promise(number uint64) simapi.Node {
	c, resolver := vat.NewPromise[simapi.Node](m.vat)
	m.mu.Lock()
	delay := time.Duration(m.rand.IntN(3000)) * time.Microsecond
	breaks := m.w.plan.trouble == breaks && m.rand.IntN(8) == 0
	m.mu.Unlock()
	m.w.promises.Go(func() {
		m.w.pause(delay)
		if breaks {
			resolver.Reject(errors.New("broken on purpose"))
			return
		}
		n, _ := m.copyOf(number - 1)
		resolver.Fulfill(n)
	})
	return c
}

// pause waits a while, unless everything is to end.
func (w *world) pause(d time.Duration) {
	switch {
	case d < 100*time.Microsecond:
		return
	case d < 500*time.Microsecond:
		runtime.Gosched()
		return
	}
	select {
	case <-time.After(d):
	case <-w.hurry:
	}
}

// weather holds and frees links, and cuts them and closes vats where that is planned.
func (w *world) weather(stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(w.plan.seed, 7))
	link := func() *transport.Link {
		i := r.IntN(len(w.members))
		j := (i + 1 + r.IntN(len(w.members)-1)) % len(w.members)
		return w.memory.Link(id(w.members[i].name), id(w.members[j].name))
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(1+r.IntN(800)) * time.Microsecond):
		}
		switch l := link(); {
		case r.IntN(3) == 0:
			l.Hold()
		case w.plan.trouble == breaks && r.IntN(40) == 0:
			l.Cut()
		case w.plan.trouble == breaks && r.IntN(100) == 0:
			w.members[r.IntN(len(w.members))].close()
		default:
			l.Free()
		}
	}
}

func (m *member) close() {
	m.mu.Lock()
	m.closed = true
	pool := m.pool
	m.pool = nil
	m.mu.Unlock()
	for _, r := range pool {
		r.node.Release()
	}
	m.vat.Close()
}

// end lets everything finish, and looks what is left.
func (w *world) end() {
	for _, a := range w.members {
		for _, b := range w.members {
			if a != b {
				w.memory.Link(id(a.name), id(b.name)).Free()
			}
		}
	}
	close(w.hurry)
	w.wait("answers to all calls, and promises to be resolved", &w.answers, &w.promises)
	for _, m := range w.members {
		m.mu.Lock()
		pool := m.pool
		m.pool, m.closed = nil, true
		m.mu.Unlock()
		for _, r := range pool {
			r.node.Release()
		}
	}
	time.Sleep(5 * time.Second)
	synctest.Wait()
	w.oracle.end()
	for _, m := range w.members {
		if tables := m.vat.Tables(); !tables.Empty() {
			w.fail("%s has %+v left\n%s", m.name, tables, w.trees())
		}
	}
	if n := w.alive.Load(); n > int64(len(w.members)) {
		w.fail("%d objects were made and not shut down\n%s", n-int64(len(w.members)), w.trees())
	}
	for _, m := range w.members {
		m.root.Release()
		m.vat.Close()
	}
	time.Sleep(5 * time.Second)
	if n := w.alive.Load(); n != 0 && !w.t.Failed() {
		w.fail("%d objects outlive their vats", n)
	}
}

// tasks counts goroutines. Unlike a WaitGroup it may be added to while somebody waits.
type tasks struct{ running atomic.Int64 }

func (g *tasks) Go(f func()) {
	g.running.Add(1)
	go func() {
		defer g.running.Add(-1)
		f()
	}()
}

// wait bounds a wait by time that passes only when everything is at rest.
func (w *world) wait(what string, groups ...*tasks) {
	for range 100_000 {
		left := int64(0)
		for _, g := range groups {
			left += g.running.Load()
		}
		if left == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.fail("no end of waiting for %s\n%s", what, w.trees())
	w.t.FailNow()
}

// fail reports the first few failures; most of what follows comes of those.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	if w.failures.Add(1) > 3 {
		w.t.Fail()
		return
	}
	w.t.Errorf("seed %d: %s", w.plan.seed, fmt.Sprintf(format, args...))
}

func (w *world) trees() string {
	var b strings.Builder
	for _, m := range w.members {
		fmt.Fprintf(&b, "%s %s", m.name, m.vat.Tree())
	}
	return b.String()
}

var forever = context.Background()
