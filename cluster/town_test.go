package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/cluster/internal/townapi"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/names"
)

// patience is how long a test waits for what must come; it fails then, and is never waited out else.
const patience = 45 * time.Second

// quick is a pace that finds failures within seconds, also on a busy machine.
var quick = cluster.Timing{
	ProbeInterval:    200 * time.Millisecond,
	ProbeTimeout:     150 * time.Millisecond,
	SuspicionMult:    6,
	GossipInterval:   50 * time.Millisecond,
	PushPullInterval: 500 * time.Millisecond,
	StreamTimeout:    2 * time.Second,
	DeadTime:         2 * time.Second,
	MaxSlowdown:      2,
}

// plan is what a node is made of.
type plan struct {
	name    string
	key     *transport.Identity
	epoch   uint64
	join    []string
	pace    cluster.Timing
	over    func(transport.Network) transport.Network // nil: as it is
	reaches func(address string) bool
	log     *slog.Logger
}

// node is all that a process of a cluster has: a vat, its place in the gossip, names, and objects that work.
type node struct {
	name     string
	run      uint64
	door     *cluster.Admission
	member   *cluster.Node
	registry *names.Registry
	vat      *vat.Vat
	worker   *worker
	events   chan string // what the gossip said, in order; only in tests that read it
}

// open starts a node.
func open(ctx context.Context, p plan) (_ *node, err error) {
	n := &node{name: p.name, run: p.epoch, door: cluster.NewAdmission(), events: make(chan string, 1000)}
	made := make(chan struct{})
	defer close(made)
	network, err := transport.ListenTLS("127.0.0.1:0", p.key, transport.Config{
		Name: p.name, Epoch: p.epoch, Admit: n.door.Admit, Logger: p.log})
	if err != nil {
		return nil, err
	}
	addresses := network.Addrs()
	if p.over != nil {
		network = p.over(network)
	}
	n.registry = names.New(names.Config{ID: p.key.ID(), Name: p.name, Member: n.nameOf, Logger: p.log})
	cfg := cluster.Config{
		ID: p.key.ID(), Name: p.name, Seq: p.epoch, Addresses: addresses, Join: p.join, Sign: p.key.Sign,
		Keys: [][]byte{[]byte("the key of the town is 32 bytes.")}, Admission: n.door, Timing: p.pace, Logger: p.log,
		OnJoin: func(id transport.VatID) { n.registry.Joined(id); n.events <- "join " + string(id) },
		OnLeave: func(id transport.VatID) {
			n.registry.Departed(id, "has left")
			n.events <- "leave " + string(id)
		},
		OnFailed: func(id transport.VatID, reason string) {
			n.registry.Departed(id, "has failed")
			if <-made; n.vat != nil {
				n.vat.Suspect(id, reason)
			}
			n.events <- "failed " + string(id)
		},
	}
	cfg.SetReaches(p.reaches)
	if n.member, err = cluster.Start(ctx, cfg); err != nil {
		return nil, errors.Join(err, network.Close())
	}
	n.vat, err = vat.New(vat.Config{Network: network, Directory: n.member, BootstrapFor: n.registry.BootstrapFor, Logger: p.log})
	if err != nil {
		return nil, errors.Join(err, n.member.Close(), network.Close())
	}
	n.registry.Start(n.vat)
	return n, nil
}

// nameOf is the name of a member, "" if it is not known.
func (n *node) nameOf(id transport.VatID) string {
	if n.member == nil {
		return "" // it is being started
	}
	return n.member.NameOf(id)
}

// publish opens the node's business: a worker as "name/worker", a desk as "name/desk".
func (n *node) publish(ctx context.Context) error {
	n.worker = &worker{node: n, entered: make(chan struct{}, 100), let: make(chan struct{})}
	w, err := vat.Spawn[townapi.Worker](n.vat, townapi.Worker_Methods, func() townapi.Worker_Server { return n.worker })
	if err != nil {
		return err
	}
	defer w.Release()
	d, err := vat.Spawn[townapi.Desk](n.vat, townapi.Desk_Methods, func() townapi.Desk_Server { return &desk{n} })
	if err != nil {
		return err
	}
	defer d.Release()
	own := n.registry.Local()
	defer own.Release()
	for name, c := range map[string]capnp.Client{"worker": capnp.Client(w), "desk": capnp.Client(d)} {
		ans, release := own.Publish(ctx, func(p names.Directory_publish_Params) error {
			return errors.Join(p.SetName(n.name+"/"+name), p.SetCap(c.AddRef()))
		})
		_, err := ans.Struct()
		release()
		if err != nil {
			return err
		}
	}
	return nil
}

// close ends a node without a goodbye.
func (n *node) close() error {
	n.registry.Close()
	return errors.Join(n.vat.Close(), n.member.Close())
}

// receipt is a townapi.Receipt, read.
type receipt struct {
	host               string
	run, serial, token uint64
}

func read(r townapi.Receipt, err error) (receipt, error) {
	if err != nil {
		return receipt{}, err
	}
	host, err := r.Host()
	return receipt{host, r.Run(), r.Serial(), r.Token()}, err
}

func (r receipt) write(to townapi.Receipt, err error) error {
	if err != nil {
		return err
	}
	to.SetRun(r.run)
	to.SetSerial(r.serial)
	to.SetToken(r.token)
	return to.SetHost(r.host)
}

// directory is that of the member by. The caller releases it.
func (n *node) directory(ctx context.Context, by string) (names.Directory, error) {
	if by == n.name {
		return n.registry.Local(), nil
	}
	id, ok := n.member.Lookup(by)
	if !ok {
		return names.Directory{}, fmt.Errorf("%s knows no live member %s", n.name, by)
	}
	return names.Directory(n.vat.Bootstrap(ctx, id)), nil
}

// with looks name up at the member by, and calls f with a reference that its host may still be unknown of.
func (n *node) with(ctx context.Context, by, name string, f func(capnp.Client) (receipt, error)) (receipt, error) {
	d, err := n.directory(ctx, by)
	if err != nil {
		return receipt{}, err
	}
	defer d.Release()
	found, release := d.Lookup(ctx, func(p names.Directory_lookup_Params) error { return p.SetName(name) })
	defer release()
	got, err := f(found.Cap())
	if err != nil {
		// What the look-up itself failed with says more.
		if _, why := found.Struct(); why != nil {
			err = why
		}
		return receipt{}, exc.Annotate("", fmt.Sprintf("%s asked %s for %s", n.name, by, name), err)
	}
	return got, nil
}

// errand looks name up at the member by, and has what it finds do work.
func (n *node) errand(ctx context.Context, by, name string, token uint64) (receipt, error) {
	return n.with(ctx, by, name, func(c capnp.Client) (receipt, error) {
		ans, release := townapi.Worker(c).Work(ctx, func(p townapi.Worker_work_Params) error { p.SetToken(token); return nil })
		defer release()
		return read(ans.Receipt().Struct())
	})
}

// send has another node go on an errand.
func (n *node) send(ctx context.Context, who, by, name string, token uint64) (receipt, error) {
	return n.with(ctx, who, who+"/desk", func(c capnp.Client) (receipt, error) {
		ans, release := townapi.Desk(c).Errand(ctx, func(p townapi.Desk_errand_Params) error {
			p.SetToken(token)
			return errors.Join(p.SetBy(by), p.SetName(name))
		})
		defer release()
		return read(ans.Receipt().Struct())
	})
}

// list is the names of live capabilities, as the member by knows them, with who holds each.
func (n *node) list(ctx context.Context, by string) (map[string]int, error) {
	d, err := n.directory(ctx, by)
	if err != nil {
		return nil, err
	}
	defer d.Release()
	ans, release := d.List(ctx, nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		return nil, err
	}
	entries, err := res.Entries()
	if err != nil {
		return nil, err
	}
	live := map[string]int{}
	for i := range entries.Len() {
		name, err := entries.At(i).Name()
		if err != nil {
			return nil, err
		}
		if entries.At(i).State() == names.Live {
			live[name]++
		}
	}
	return live, nil
}

// worker does work, and counts it.
type worker struct {
	node    *node
	entered chan struct{} // one for each hold
	let     chan struct{} // closed, or read from by a hold that is to end

	mu   sync.Mutex
	done uint64
}

func (w *worker) receipt(token uint64) receipt {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
	return receipt{w.node.name, w.node.run, w.done, token}
}

func (w *worker) Work(_ context.Context, call townapi.Worker_work) error {
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return w.receipt(call.Args().Token()).write(res.NewReceipt())
}

func (w *worker) Hold(ctx context.Context, call townapi.Worker_hold) error {
	token := call.Args().Token()
	call.Go()
	w.entered <- struct{}{}
	select {
	case <-w.let:
	case <-ctx.Done():
		return ctx.Err()
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return w.receipt(token).write(res.NewReceipt())
}

func (w *worker) Tally(_ context.Context, call townapi.Worker_tally) error {
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	res.SetRun(w.node.run)
	res.SetDone(w.done)
	return nil
}

// desk makes calls for others.
type desk struct{ node *node }

func (d *desk) Errand(ctx context.Context, call townapi.Desk_errand) error {
	by, err := call.Args().By()
	if err != nil {
		return err
	}
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	token := call.Args().Token()
	call.Go()
	got, err := d.node.errand(ctx, by, name, token)
	if err != nil {
		return err
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return got.write(res.NewReceipt())
}

func (d *desk) Pass(ctx context.Context, call townapi.Desk_pass) error {
	via, err := call.Args().Via()
	if err != nil {
		return err
	}
	w, token := call.Args().Worker().AddRef(), call.Args().Token()
	defer w.Release()
	var members []string
	for i := range via.Len() {
		name, err := via.At(i)
		if err != nil {
			return err
		}
		members = append(members, name)
	}
	call.Go()
	got, err := d.node.pass(ctx, w, members, token)
	if err != nil {
		return err
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return got.write(res.NewReceipt())
}

// pass hands w round.
func (n *node) pass(ctx context.Context, w townapi.Worker, via []string, token uint64) (receipt, error) {
	if len(via) == 0 {
		ans, release := w.Work(ctx, func(p townapi.Worker_work_Params) error { p.SetToken(token); return nil })
		defer release()
		return read(ans.Receipt().Struct())
	}
	return n.with(ctx, via[0], via[0]+"/desk", func(c capnp.Client) (receipt, error) {
		ans, release := townapi.Desk(c).Pass(ctx, func(p townapi.Desk_pass_Params) error {
			p.SetToken(token)
			rest, err := p.NewVia(int32(len(via) - 1))
			if err != nil {
				return err
			}
			for i, name := range via[1:] {
				if err := rest.Set(i, name); err != nil {
					return err
				}
			}
			return p.SetWorker(w.AddRef())
		})
		defer release()
		return read(ans.Receipt().Struct())
	})
}

// A town is a cluster of nodes in this process, over TLS on loopback.
type town struct {
	t     *testing.T
	pace  cluster.Timing
	lines *lines

	direct bool // nothing goes over lines

	mu    sync.Mutex
	keys  map[string]*transport.Identity
	nodes map[string]*node
}

func newTown(t *testing.T, pace cluster.Timing) *town {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	tn := &town{t: t, pace: pace, keys: map[string]*transport.Identity{}, nodes: map[string]*node{}}
	tn.lines = newLines(tn.called)
	t.Cleanup(tn.lines.close)
	return tn
}

// called is the name of a vat.
func (tn *town) called(id transport.VatID) string {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	for name, key := range tn.keys {
		if key.ID() == id {
			return name
		}
	}
	return ""
}

// start starts a node that publishes what it has, or starts it anew, under the key that it had. It joins by one that is
// there.
func (tn *town) start(name string) *node {
	tn.t.Helper()
	n, err := tn.launch(name)
	if err != nil {
		tn.t.Fatalf("starting %s: %v", name, err)
	}
	if err := n.publish(tn.t.Context()); err != nil {
		tn.t.Fatalf("publishing at %s: %v", name, err)
	}
	return n
}

func (tn *town) launch(name string) (*node, error) {
	key, join, err := tn.keyAndSeed(name)
	if err != nil {
		return nil, err
	}
	p := plan{name: name, key: key, epoch: uint64(time.Now().UnixNano()), join: join, pace: tn.pace, log: slog.Default()}
	if !tn.direct {
		p.over = func(network transport.Network) transport.Network { return &linesNetwork{network, tn.lines, name} }
		p.reaches = func(address string) bool { return tn.lines.gossips(name, address) }
	}
	n, err := open(tn.t.Context(), p)
	if err != nil {
		return nil, err
	}
	tn.lines.at(n.member.GossipAddr(), name)
	tn.mu.Lock()
	tn.nodes[name] = n
	tn.mu.Unlock()
	tn.t.Cleanup(func() {
		tn.lines.heal()
		if err := n.close(); err != nil {
			tn.t.Errorf("closing %s: %v", name, err)
		}
	})
	return n, nil
}

func (tn *town) keyAndSeed(name string) (key *transport.Identity, join []string, err error) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if key = tn.keys[name]; key == nil {
		if key, err = transport.NewIdentity(); err != nil {
			return nil, nil, err
		}
		tn.keys[name] = key
	}
	for _, other := range tn.nodes {
		if other.name != name {
			return key, []string{other.member.GossipAddr()}, nil
		}
	}
	return key, nil, nil
}

// eventually tries until f succeeds.
func eventually(t *testing.T, what string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never came about: %s: %v", what, err)
		}
	}
}

// knows waits until n has all of the others alive.
func (n *node) knows(t *testing.T, others ...string) {
	t.Helper()
	eventually(t, n.name+" knows all", func(context.Context) error {
		for _, name := range others {
			if _, ok := n.member.Lookup(name); !ok {
				return fmt.Errorf("%s is missing", name)
			}
		}
		return nil
	})
}

// misses waits until n has none of the others alive.
func (n *node) misses(t *testing.T, others ...string) {
	t.Helper()
	eventually(t, n.name+" misses some", func(context.Context) error {
		for _, name := range others {
			if _, ok := n.member.Lookup(name); ok {
				return fmt.Errorf("%s is still there", name)
			}
		}
		return nil
	})
}
