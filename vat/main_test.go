package vat

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	goleak.VerifyTestMain(m)
}

// patience bounds waits that should end at once: reached only where something hangs.
const patience = 30 * time.Second

// eventually waits until cond holds.
func eventually(t *testing.T, what func() string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("did not come about: %s", what())
		}
	}
}

func saying(s string) func() string { return func() string { return s } }

// arrives waits for something on ch, or for it to be closed.
func arrives[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case x := <-ch:
		return x
	case <-time.After(patience):
		t.Fatalf("did not come: %s", what)
		panic("unreachable")
	}
}

// A cluster is a few vats in one memory. At the end of its test what they hold must be gone by itself.
type cluster struct {
	t       *testing.T
	memory  *transport.Memory
	vats    []*Vat
	byName  map[string]*Vat
	objects map[string]*probe // the bootstraps
	locals  map[string]testapi.Probe

	mu    sync.Mutex
	heard map[message]int // how often each kind of message was sent and received

	drop  []func() // to do before the tables are looked at
	once  sync.Once
	dirty bool // tables are not expected to be empty in the end
}

// message is a kind of message, as one vat sent it to another, or got it.
type message struct {
	at   string
	out  bool
	peer string
	kind rpc.Message_Which
}

// count is how often messages of a kind were sent or received.
func (c *cluster) count(m message) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard[m]
}

// newCluster starts vats that offer a probe each.
func newCluster(t *testing.T, names ...string) *cluster {
	c := &cluster{t: t, memory: transport.NewMemory(), byName: map[string]*Vat{},
		objects: map[string]*probe{}, locals: map[string]testapi.Probe{}, heard: map[message]int{}}
	t.Cleanup(c.shut)
	for _, name := range names {
		c.start(name, nil)
	}
	return c
}

// start starts a vat; with may change its configuration.
func (c *cluster) start(name string, with func(*Config, *transport.Config)) *Vat {
	c.t.Helper()
	p, client := newProbe(name)
	local := client.AddRef()
	cfg := Config{Directory: c.memory, Bootstrap: capnp.Client(client), Tap: func(e TapEvent) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.heard[message{name, e.Out, e.Peer.Name, e.Message.Which()}]++
	}}
	tcfg := transport.Config{Name: name}
	if with != nil {
		with(&cfg, &tcfg)
	}
	var err error
	if cfg.Network, err = c.memory.Vat(name, tcfg); err != nil {
		c.t.Fatal(err)
	}
	v, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.vats = append(c.vats, v)
	c.byName[name], c.objects[name], c.locals[name] = v, p, local
	return v
}

func id(name string) transport.VatID { return transport.VatID("plain:" + name) }

func (c *cluster) link(from, to string) *transport.Link { return c.memory.Link(id(from), id(to)) }

// bootstrap is the probe of another vat. It is released at the end of the test, if not before.
func (c *cluster) bootstrap(at, of string) testapi.Probe {
	p := testapi.Probe(c.byName[at].Bootstrap(context.Background(), id(of)))
	c.atEnd(p.Release)
	return p
}

// ready is bootstrap, resolved.
func (c *cluster) ready(at, of string) testapi.Probe {
	c.t.Helper()
	p := c.bootstrap(at, of)
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := p.Resolve(ctx); err != nil {
		c.t.Fatalf("bootstrap of %s at %s: %v\n%s", of, at, err, c.trees())
	}
	return p
}

func (c *cluster) empty() bool {
	for _, v := range c.vats {
		if !v.Tables().Empty() {
			return false
		}
	}
	return true
}

func (c *cluster) trees() string {
	s := ""
	for _, v := range c.vats {
		s += string(v.ID()) + " " + v.Tree().String()
	}
	return s
}

// settle waits for empty tables, once the roots have been dropped.
func (c *cluster) settle() {
	c.t.Helper()
	eventually(c.t, func() string { return "empty tables\n" + c.trees() }, c.empty)
}

func (c *cluster) close() {
	for _, f := range c.drop {
		f()
	}
	if !c.dirty && !c.t.Failed() {
		c.settle()
	}
	for _, local := range c.locals {
		local.Release()
	}
	for _, v := range c.vats {
		if err := v.Close(); err != nil {
			c.t.Errorf("closing %s: %v", v.ID(), err)
		}
	}
}

// shut ends the cluster before its test is over.
func (c *cluster) shut() { c.once.Do(c.close) }

// atEnd has f run before the tables are looked at.
func (c *cluster) atEnd(f func()) { c.drop = append(c.drop, f) }

// session is the open session of one vat with another.
func (c *cluster) session(at, with string) *session {
	c.t.Helper()
	v := c.byName[at]
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.sessions[id(with)]
	if s == nil {
		c.t.Fatalf("%s has no session with %s", at, with)
	}
	return s
}

// node finds an actor in a tree by its kind, nil if there is none.
func (n Node) find(kind string) *Node {
	if n.Kind == kind {
		return &n
	}
	for _, c := range n.Children {
		if f := c.find(kind); f != nil {
			return f
		}
	}
	return nil
}

func (n Node) all(kind string) (found []Node) {
	if n.Kind == kind {
		found = append(found, n)
	}
	for _, c := range n.Children {
		found = append(found, c.all(kind)...)
	}
	return found
}
