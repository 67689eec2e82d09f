package names

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	goleak.VerifyTestMain(m)
}

// patience bounds waits that should end at once: reached only where something hangs.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("did not come about: %s", what)
		}
	}
}

// A town is a cluster in one memory. Who knows of whom is for the test to say.
type town struct {
	t      *testing.T
	memory *transport.Memory
	nodes  map[string]*node
}

// A node has a registry, a guest has none.
type node struct {
	name     string
	vat      *vat.Vat
	registry *Registry
}

// newTown starts nodes that all know each other.
func newTown(t *testing.T, names ...string) *town {
	tn := &town{t: t, memory: transport.NewMemory(), nodes: map[string]*node{}}
	for _, name := range names {
		tn.start(name)
	}
	for i, a := range names {
		for _, b := range names[:i] {
			tn.meet(a, b)
		}
	}
	return tn
}

func id(name string) transport.VatID { return transport.VatID("plain:" + name) }

// start starts a node that nobody knows yet.
func (tn *town) start(name string) *node {
	tn.t.Helper()
	r := New(Config{ID: id(name), Name: name, Member: func(v transport.VatID) string {
		return strings.TrimPrefix(string(v), "plain:")
	}})
	n := tn.startVat(name, vat.Config{BootstrapFor: r.BootstrapFor})
	n.registry = r
	r.Start(n.vat)
	return n
}

// guest starts a vat that is no member.
func (tn *town) guest(name string) *node { return tn.startVat(name, vat.Config{}) }

func (tn *town) startVat(name string, cfg vat.Config) *node {
	tn.t.Helper()
	network, err := tn.memory.Vat(name, transport.Config{Name: name})
	if err != nil {
		tn.t.Fatal(err)
	}
	cfg.Network, cfg.Directory = network, tn.memory
	v, err := vat.New(cfg)
	if err != nil {
		tn.t.Fatal(err)
	}
	n := &node{name: name, vat: v}
	tn.nodes[name] = n
	tn.t.Cleanup(n.close)
	return n
}

// close ends a node. It may have been ended before.
func (n *node) close() {
	if n.registry != nil {
		n.registry.Close()
	}
	_ = n.vat.Close()
}

func (tn *town) meet(a, b string) {
	tn.nodes[a].registry.Joined(id(b))
	tn.nodes[b].registry.Joined(id(a))
}

// part cuts two nodes off from each other.
func (tn *town) part(a, b string) {
	for _, x := range [][2]string{{a, b}, {b, a}} {
		n := tn.nodes[x[0]]
		n.registry.Departed(id(x[1]), "has failed")
		n.vat.EndSession(id(x[1]), "cut off")
	}
}

// at is the directory of a node, as another vat gets it.
func (tn *town) at(guest, host string) Directory {
	d := Directory(tn.nodes[guest].vat.Bootstrap(tn.t.Context(), id(host)))
	tn.t.Cleanup(d.Release)
	return d
}

// own is the directory of a node, as it gets it itself.
func (tn *town) own(name string) Directory {
	d := tn.nodes[name].registry.Local()
	tn.t.Cleanup(d.Release)
	return d
}

// greeter greets in the name of a vat.
type greeter struct{ by string }

func (g greeter) Greet(_ context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return res.SetGreeting("hello " + name + ", from " + g.by)
}

// object makes a greeter that is an actor of the vat.
func (n *node) object(t *testing.T) capnp.Client {
	t.Helper()
	c, err := vat.Spawn[greeting.Greeter](n.vat, greeting.Greeter_Methods, func() greeting.Greeter_Server { return greeter{n.name} })
	if err != nil {
		t.Fatal(err)
	}
	return capnp.Client(c)
}

// publish publishes what, and takes it over.
func publish(ctx context.Context, d Directory, name string, what capnp.Client) (Publication, error) {
	answer, release := d.Publish(ctx, func(p Directory_publish_Params) error {
		if err := p.SetName(name); err != nil {
			return err
		}
		return p.SetCap(what)
	})
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return Publication{}, err
	}
	return res.Publication().AddRef(), nil
}

func (tn *town) publish(d Directory, name string, what capnp.Client) Publication {
	tn.t.Helper()
	p, err := publish(tn.t.Context(), d, name, what)
	if err != nil {
		tn.t.Fatalf("publishing %s: %v", name, err)
	}
	tn.t.Cleanup(p.Release)
	return p
}

// greet looks a name up, and calls what it finds.
func greet(ctx context.Context, d Directory, name string) (string, error) {
	found, release := d.Lookup(ctx, func(p Directory_lookup_Params) error { return p.SetName(name) })
	defer release()
	answer, free := greeting.Greeter(found.Cap()).Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName("you") })
	defer free()
	res, err := answer.Struct()
	if err != nil {
		return "", err
	}
	return res.Greeting()
}

func (tn *town) wantGreeting(d Directory, name, by string) {
	tn.t.Helper()
	got, err := greet(tn.t.Context(), d, name)
	if want := "hello you, from " + by; err != nil || got != want {
		tn.t.Errorf("calling %s: %q, %v; want %q", name, got, err, want)
	}
}

// wantError wants err to be of a type and to say something.
func wantError(t *testing.T, err error, of exc.Type, says string) {
	t.Helper()
	if err == nil || exc.TypeOf(err) != of || !strings.Contains(err.Error(), says) {
		t.Errorf("%v; want %v, saying %q", err, of, says)
	}
}

// known is what a node knows of a name, without asking anyone.
func (tn *town) known(at, name string) Record {
	r := tn.nodes[at].registry
	r.mu.Lock()
	defer r.mu.Unlock()
	found, _ := r.table.find(name)
	return found
}

func ended(ctx context.Context, p Publication) (string, error) {
	answer, release := p.Ended(ctx, nil)
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return "", err
	}
	return res.Why()
}

// say calls a greeter.
func say(t *testing.T, c capnp.Client) string {
	t.Helper()
	answer, release := greeting.Greeter(c).Greet(t.Context(), func(p greeting.Greeter_greet_Params) error { return p.SetName("you") })
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return err.Error()
	}
	text, err := res.Greeting()
	if err != nil {
		return err.Error()
	}
	return text
}
