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
	"github.com/vatwork/vatwork/vat/internal/hook"
	"github.com/vatwork/vatwork/vat/internal/simapi"
)

// world is one run.
type world struct {
	t       *testing.T
	plan    plan
	memory  *transport.Memory
	members []*member
	oracle  oracle

	refs       atomic.Uint32 // reference ids given
	heights    atomic.Uint64 // promise numbers given
	dispatcher *dispatcher
	ended      []life        // vats that are closed
	hurry      chan struct{} // closed: everything that takes its time is to end
	drivers    tasks
	answers    tasks // calls that were made and not answered
	promises   tasks // that were not resolved
	failures   atomic.Int64
	alive      atomic.Int64 // objects made and not shut down
}

// member is a vat, with what its local code holds. After a crash it has another life: another vat of the same name.
type member struct {
	w     *world
	name  string
	index int
	rand  *rand.Rand // guarded by mu

	mu   sync.Mutex
	life int
	over bool // nothing is held any more: what a call of before a crash brings yet is let go of
	vat  *vat.Vat
	root simapi.Node
	pool []*ref
}

// life is a vat that has crashed.
type life struct {
	name string
	vat  *vat.Vat
}

// ref is a reference. Whoever has taken it out of the pool is the only one to use it.
type ref struct {
	id     uint32
	seq    uint32
	node   simapi.Node
	height uint64
	life   int // in which it was put into the pool
}

func id(name string) transport.VatID { return transport.VatID("plain:" + name) }

// run is a whole run, in a bubble of its own.
func run(t *testing.T, p plan) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, plan: p, memory: transport.NewMemory(), hurry: make(chan struct{}), dispatcher: newDispatcher(p.seed)}
		defer w.dispatcher.end()
		w.oracle.init(w.fail, p.trouble == breaks)
		for i := range p.vats {
			m := &member{w: w, name: fmt.Sprintf("v%d", i), index: i, rand: rand.New(rand.NewPCG(p.seed, uint64(1000+i)))}
			w.members = append(w.members, m)
			m.start()
		}
		weather := make(chan struct{})
		var clouds sync.WaitGroup
		clouds.Go(func() { w.weather(weather) })
		for i, m := range w.members {
			for d := range p.drivers {
				start := time.Duration(i*p.drivers+d) * time.Microsecond
				w.drivers.Go(func() {
					w.pause(start)
					m.drive(rand.New(rand.NewPCG(p.seed, uint64(100+i*10+d))))
				})
			}
		}
		w.wait("the drivers", &w.drivers)
		close(weather)
		clouds.Wait()
		w.end()
	})
}

// start gives m a life.
func (m *member) start() {
	w := m.w
	tcfg := transport.Config{Name: m.name, Logger: quiet}
	if m.index > 0 && m.index <= w.plan.level1 {
		tcfg.Features = transport.FeatureKeptResults
	}
	network, err := w.memory.Vat(m.name, tcfg)
	if err != nil {
		w.t.Fatal(err)
	}
	hooks := hook.Hooks{Broken: hook.Rule(*broken)}
	if !w.plan.free {
		hooks.Dispatcher = w.dispatcher
	}
	var root simapi.Node
	cfg := vat.Config{
		Network:      hooked{network, hooks},
		Directory:    w.memory,
		Logger:       quiet,
		Tap:          m.tap,
		ForwardCalls: w.plan.forward,
		Serve: func(v *vat.Vat) (capnp.Client, error) {
			c, err := m.newObject(v)
			root = c
			return capnp.Client(c.AddRef()), err
		},
	}
	for method := uint16(2); w.plan.early && method <= 7; method++ {
		cfg.EarlyReturn = append(cfg.EarlyReturn, vat.EarlyReturn{
			Interface: simapi.Node_TypeID, Method: method, Caps: [][]uint16{{0}},
		})
	}
	v, err := vat.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	m.mu.Lock()
	m.vat, m.root = v, root
	m.mu.Unlock()
}

// tap prints messages, and gives way to others now and then where turns run freely.
func (m *member) tap(e vat.TapEvent) {
	if *traced {
		fmt.Println(line(m.name, e))
	}
	if m.w.plan.free && rand.IntN(3) == 0 {
		runtime.Gosched()
	}
}

// now is the vat of m in its present life.
func (m *member) now() *vat.Vat {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vat
}

var quiet = slog.New(slog.DiscardHandler)

// newObject makes an object at v, in one of the lives of m.
func (m *member) newObject(v *vat.Vat) (simapi.Node, error) {
	o := &object{m: m, v: v, id: m.w.oracle.newObject()}
	m.w.alive.Add(1)
	if m.w.plan.native && o.id%2 == 0 {
		return simapi.Node_ServerToClient(o), nil
	}
	made := false
	c, err := vat.Spawn[simapi.Node](v, simapi.Node_Methods, func() simapi.Node_Server {
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
	m.mu.Lock()
	r := &ref{id: m.w.refs.Add(1), node: n, height: height, life: m.life}
	m.mu.Unlock()
	m.w.oracle.born(r.id, "at %s, by %s", m.name, how)
	m.back(r)
}

// back puts one back that was taken out. When the pool is full another goes.
func (m *member) back(r *ref) {
	m.mu.Lock()
	m.pool = append(m.pool, r)
	var gone *ref
	if r.life != m.life || m.over {
		gone, m.pool = r, m.pool[:len(m.pool)-1]
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
	r := &ref{id: m.w.refs.Add(1), node: m.root.AddRef(), life: m.life}
	m.mu.Unlock()
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
	c, resolver := vat.NewPromise[simapi.Node](m.now())
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
	case !w.plan.free:
		w.dispatcher.sleep(d, w.hurry)
		return
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

// end lets everything finish, and looks what is left.
func (w *world) end() {
	for _, a := range w.members {
		for _, b := range w.members {
			if a != b {
				w.link(a, b).Free()
			}
		}
	}
	close(w.hurry)
	w.wait("answers to all calls, and promises to be resolved", &w.answers, &w.promises)
	for _, m := range w.members {
		m.mu.Lock()
		pool := m.pool
		m.pool, m.over = nil, true
		m.mu.Unlock()
		for _, r := range pool {
			r.node.Release()
		}
	}
	left := 5 * time.Second
	if w.plan.trouble == breaks {
		left = deadlines // what a vat that has crashed was to send is waited for until then
	}
	time.Sleep(left)
	synctest.Wait()
	w.oracle.end()
	for _, m := range w.members {
		w.empty(m.name, m.vat)
	}
	if n := w.alive.Load(); n > int64(len(w.members)) {
		w.fail("%d objects were made and not shut down\n%s", n-int64(len(w.members)), w.trees())
	}
	for _, m := range w.members {
		m.root.Release()
		m.vat.Close()
		w.ended = append(w.ended, life{m.name, m.vat})
	}
	time.Sleep(5 * time.Second)
	for _, l := range w.ended {
		w.empty("closed "+l.name, l.vat)
	}
	if n := w.alive.Load(); n != 0 && !w.t.Failed() {
		w.fail("%d objects outlive their vats", n)
	}
}

// deadlines is longer than any that vats have.
const deadlines = 5 * time.Minute

func (w *world) empty(name string, v *vat.Vat) {
	if tables := v.Tables(); !tables.Empty() {
		w.fail("%s has %+v left: %s\n%s", name, tables, v.Tree(), w.trees())
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
