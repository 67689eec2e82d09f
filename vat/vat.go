package vat

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A Vat hosts capabilities and holds those of others: one actor system, one session for each peer. All methods
// may be called from any goroutine.
type Vat struct {
	network   transport.Network
	directory Directory
	bootstrap capnp.Client
	offer     func(transport.VatID) capnp.Client // instead of bootstrap, if not nil
	early     map[methodID][][]uint16
	forwards  bool // Config.ForwardCalls
	limits    Limits
	twoParty  transport.Config
	log       *slog.Logger
	tap       func(TapEvent)

	system     *actor.ActorSystem
	root       *actor.PID
	ctx        context.Context // done when the vat closes
	cancel     context.CancelFunc
	worker     actors.Worker  // what enters go-capnp
	runners    actors.Runners // run turns of sessions that are woken
	hooks      hook.Hooks     // of a simulation
	goroutines sync.WaitGroup
	serial     atomic.Uint64
	promises   atomic.Int64
	living     sync.Map   // of *promise: those that have not ended
	resolving  sync.Mutex // see promise
	provisions provisions
	spareHosts spareHosts
	nodes      nodes
	flights    flights
	watches    callWatches
	supervisor *actors.Supervisor

	completions completions

	// Not under mu: an object fails in a turn of the vat's actor, and others spawn, in such a turn, under mu.
	failureMu sync.Mutex
	failure   error // escalated by an object

	mu        sync.Mutex
	sessions  map[transport.VatID]*session
	leaving   map[transport.VatID]latch  // closed with the connection of a session that was retired
	ending    map[*session]chan struct{} // closed when its actor has stopped
	unreached map[transport.VatID]unreachedPeer
	countMu   sync.Mutex
	counts    map[string]uint64 // by limit: see Exceeded
	handoffs  Handoffs
	guests    int // places that ServeTwoParty has given away
	refusals  int // guests that are being told that there is none
	closed    bool
	finished  latch // Close is through
}

// New starts a vat. It serves peers that connect until Close.
func New(cfg Config) (*Vat, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	v := &Vat{
		network:   cfg.Network,
		directory: cfg.Directory,
		bootstrap: cfg.Bootstrap,
		offer:     cfg.BootstrapFor,
		early:     map[methodID][][]uint16{},
		forwards:  cfg.ForwardCalls,
		limits:    cfg.Limits.withDefaults(),
		twoParty:  cfg.TwoParty,
		log:       log,
		tap:       cfg.Tap,
		sessions:  map[transport.VatID]*session{},
		leaving:   map[transport.VatID]latch{},
		ending:    map[*session]chan struct{}{},
		finished:  make(latch),
		flights:   flights{none: make(chan struct{}, 1)},
	}
	if n, ok := cfg.Network.(hook.Network); ok {
		v.hooks = n.Hooks()
		v.worker.Dispatcher = v.hooks.Dispatcher
	}
	for _, e := range cfg.EarlyReturn {
		v.early[methodID{e.Interface, e.Method}] = e.Caps
	}
	v.provisions.live = map[provisionKey]*provisionRef{}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.system = actors.NewSystem(log)
	v.supervisor = actors.NewSupervisor(v.childFailed)
	root, err := v.system.Root.SpawnNamed(actor.PropsFromProducer(
		func() actor.Actor { return &rootActor{inline: actors.NewBrood()} },
		actors.Inline(),
		actor.WithSupervisor(v.supervisor),
	), "vat")
	if err != nil {
		return nil, fmt.Errorf("vat: %w", err)
	}
	v.root = root
	if cfg.Serve != nil {
		if v.bootstrap, err = cfg.Serve(v); err != nil {
			v.shutDown()
			return nil, fmt.Errorf("vat: Config.Serve: %w", err)
		}
	}
	v.goroutines.Add(1)
	go v.serve()
	return v, nil
}

// ID is who this vat is.
func (v *Vat) ID() transport.VatID { return v.network.LocalID() }

// ActorSystem is the protoactor system that the vat lives in. Plain actors can be spawned in it, by its Root: they
// are no part of the vat, so their supervision is protoactor's, and Close does not stop them. See actors.Ask
// for a capability that is answered by one, and actors.PipeTo for one that calls capabilities.
func (v *Vat) ActorSystem() *actor.ActorSystem { return v.system }

// rootActor is the vat in the actor tree: the parent of sessions, promises, provisions and objects.
type rootActor struct{ inline *actors.Brood }

type spawnChild struct {
	name   string
	props  *actor.Props
	inline actor.Actor // instead of props
	pid    *actor.PID
	err    error
}

func (a *rootActor) Receive(ctx actor.Context) {
	m, ok := ctx.Message().(*spawnChild)
	switch {
	case !ok:
	case m.inline != nil:
		m.pid, m.err = a.inline.Spawn(ctx, m.inline, m.name)
	default:
		m.pid, m.err = ctx.SpawnNamed(m.props, m.name)
	}
}

func (v *Vat) spawn(name string, props *actor.Props) (*actor.PID, error) {
	return v.spawnChild(&spawnChild{name: name, props: props})
}

func (v *Vat) spawnInline(name string, a actor.Actor) (*actor.PID, error) {
	return v.spawnChild(&spawnChild{name: name, inline: a})
}

func (v *Vat) spawnChild(m *spawnChild) (*actor.PID, error) {
	m.err = disconnected("the vat is closed")
	v.system.Root.Send(v.root, m)
	return m.pid, m.err
}

// childFailed: sessions catch their own panics, so it was a promise, a provision or an object. It is stopped,
// and what is put on it is rejected.
func (v *Vat) childFailed(child *actor.PID, reason any) {
	v.log.Error("actor failed", "actor", child.Id, "panic", reason)
}

func (v *Vat) serialName() string { return strconv.FormatUint(v.serial.Add(1), 10) }

// breaks says whether v is to break a rule, so that a simulation can show that it notices.
func (v *Vat) breaks(r hook.Rule) bool { return v.hooks.Broken == r }

// later runs f off any turn, in order: what enters go-capnp.
func (v *Vat) later(f func()) { v.worker.Do(f) }

// freeLater releases pins, off any turn where that may enter code that is not ours; nil ones are skipped.
func (v *Vat) freeLater(pins ...*pin) {
	for _, p := range pins {
		if p == nil {
			continue
		}
		if left, more := p.freeHere(); more {
			v.later(left.free)
		}
	}
}

// freeResult has r freed likewise.
func (v *Vat) freeResult(r result) {
	switch {
	case r.cap != nil:
		v.freeLater(r.cap)
	case r.release != nil || r.msg != nil:
		v.later(r.free)
	}
}

func (v *Vat) newNonce() (n nonce) {
	_, _ = rand.Read(n[:]) // never fails: crypto/rand ends the process first
	return n
}

// importOf is the import where c leads to at the moment, if it does.
func (v *Vat) importOf(c capnp.Client) (*importRef, bool) {
	s := c.Snapshot()
	defer s.Release()
	return importAt(s)
}

// leadsTo is importOf what p pins.
func (p *pin) leadsTo() (*importRef, bool) {
	if !p.snap.IsValid() {
		return nil, false
	}
	return importAt(p.snap.ClientSnapshot)
}

func importAt(s capnp.ClientSnapshot) (*importRef, bool) {
	if r, ok := s.Brand().Value.(*reference); ok {
		i, ok := r.roadNow().(*importRef)
		return i, ok
	}
	return nil, false
}

// importRoad is the import where a road leads to, through promises of ours that have resolved, and those; nil if
// to none.
func importRoad(to road) (_ *importRef, by []*promise) {
	for {
		switch x := to.(type) {
		case *importRef:
			return x, by
		case *reference:
			to = x.roadNow()
		case fixedRef:
			to = x.roadNow()
		case callersOf:
			to = x.promise
		case *promise:
			to, by = x.callersGo(), append(by, x)
		default:
			return nil, nil
		}
	}
}

// throughQueue is a client for the object of p by way of its queue, for local callers whose calls may be
// waiting there.
func (v *Vat) throughQueue(o *object, p pin) capnp.Client {
	again := p.again()
	c, ref := v.newReference(o, false)
	ref.next = &again
	ref.home = nil
	return c
}

func (v *Vat) refused(peer, introducer transport.VatID, why error) {
	v.exceeded("refused Accepts")
	v.log.Warn("refused an Accept", "peer", string(peer), "introducer", string(introducer), "why", why)
}

// EndSession ends the session with peer, if there is one: what is under way fails with disconnected, and with
// reason. For what is certain; news that may be false, such as a failure that memberlist has found, are for Suspect.
func (v *Vat) EndSession(peer transport.VatID, reason string) {
	v.mu.Lock()
	s := v.sessions[peer]
	v.mu.Unlock()
	if s != nil {
		s.tell(&endSession{disconnected("%s", reason)})
	}
}

// endObjects stops what still runs when the vat closes.
func (v *Vat) endObjects() {
	for _, o := range v.supervisor.Owners() {
		o.(*spawned).host.End(disconnected("the vat is closing"))
	}
}

// Close ends the vat: its sessions, of which the peers see that they end, its network, and every goroutine of
// its own. Calls under way fail with disconnected. It returns when all that is done, except for goroutines
// that are inside objects' methods. Idempotent.
func (v *Vat) Close() error {
	v.mu.Lock()
	first := !v.closed
	v.closed = true
	v.mu.Unlock()
	if !first {
		<-v.finished
		return nil
	}
	err := v.network.Close()
	v.shutDown()
	return err
}

// shutDown ends the sessions and all that is left after them.
func (v *Vat) shutDown() {
	defer close(v.finished)
	v.mu.Lock()
	v.closed = true
	ending := maps.Clone(v.ending)
	v.mu.Unlock()
	sessions := slices.SortedFunc(maps.Keys(ending), func(a, b *session) int { return strings.Compare(a.name, b.name) })
	for _, s := range sessions {
		s.tell(&endSession{disconnected("the vat %s is closing", v.ID().Short())})
	}
	for _, done := range ending {
		<-done
	}
	v.endProvisions()
	// Only now: a method whose context is canceled returns with that, and its caller is to see disconnected.
	v.cancel()
	v.goroutines.Wait()
	v.closePromises()
	v.endObjects()
	v.later(v.bootstrap.Release)
	v.worker.Wait()
	_ = v.system.Root.StopFuture(v.root).Wait()
	v.worker.Wait()
	v.watches.close()
	v.worker.End()
	v.runners.End()
	v.system.Shutdown()
}
