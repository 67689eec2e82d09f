package actors

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/server"
	"github.com/asynkron/protoactor-go/actor"
)

// Admission bounds what may wait for an object, the calls that run included. What does not fit is answered
// overloaded, at once.
type Admission struct {
	Calls int    // 0 means 1,024
	Bytes uint64 // of parameters; 0 means 64 MiB
}

// idleServer is how long a go-capnp server, with its goroutine, outlives the last call on an object, at least: at most
// twice as long. So no call has to look at the clock.
const idleServer = time.Second

// HostConfig is what a Host is made of.
type HostConfig struct {
	Name string // in logs and errors

	// Produce makes an instance: its methods, always the same ones in the same order, and what to call when
	// the instance is no longer needed (nil for nothing). It runs once at the start and once for each
	// restart. A panic in it counts as one in a method.
	Produce func() (methods []server.Method, shutdown func())

	Policy    Policy
	Admission Admission
	Logger    *slog.Logger

	Owner Owner // nil: nobody
}

// An Owner is told what becomes of an object. Its methods must not block.
type Owner interface {
	// Stopped is called once, when the object has ended: with nil after Close, else with why.
	Stopped(why error)
	// Escalated is called before Stopped where the policy says so.
	Escalated(why error)
}

// A Host runs one capability object as an actor: calls one at a time in the order of Recv, by the methods of an
// instance that is made anew when one of them panics.
//
// States: serving (there is an instance); restarting (there is none: calls wait, at most as long as the
// backoff); stopped (why says why: calls are rejected with it). Close leads to stopped when all accepted
// calls have been answered.
//
// Calls wait in a server.Server of go-capnp, which is made for the first call and retired when idle. It knows no
// methods: for each call it is handed a wrapper that takes the instance of the moment, or waits for the next.
// So what waits survives a restart, and call.Go works as go-capnp documents it.
//
// There may be very many, most of them idle: so what one needs only now and then it has only then.
type Host struct {
	name      string
	produce   func() ([]server.Method, func())
	admission Admission
	logger    *slog.Logger
	owner     Owner
	system    *actor.ActorSystem
	pid       *actor.PID // set by Supervisor.Add, before anybody calls it

	calls   atomic.Int64 // accepted and not answered
	bytes   atomic.Int64
	begun   atomic.Bool
	closing atomic.Bool

	mu      sync.Mutex
	stopped bool
	why     error
	inst    *instance
	ready   chan struct{} // closed when inst is there, or the host has stopped; nil while serving
	srv     *idlingServer // nil while idle
	broken  chan struct{} // closed when stopped; nil while nobody has asked
	budget  budget
}

// An idlingServer is a go-capnp server that ends when nothing has used it for a while.
type idlingServer struct {
	*server.Server
	used bool // since retire looked last
}

// An instance is what the producer made, with the calls that run on it.
type instance struct {
	methods  []server.Method
	shutdown func()
	running  int
	retired  bool
}

// NewHost makes a host, whose actor is to be spawned with the props of its supervisor.
func NewHost(system *actor.ActorSystem, cfg HostConfig) (*Host, error) {
	policy, err := cfg.Policy.shared()
	if err != nil {
		return nil, err
	}
	if cfg.Admission.Calls == 0 {
		cfg.Admission.Calls = 1024
	}
	if cfg.Admission.Bytes == 0 {
		cfg.Admission.Bytes = 64 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Host{
		name:      cfg.Name,
		produce:   cfg.Produce,
		admission: cfg.Admission,
		logger:    cfg.Logger,
		owner:     cfg.Owner,
		system:    system,
		ready:     make(chan struct{}),
		budget:    budget{policy: policy},
	}, nil
}

// Begin makes the first instance, once the supervisor knows the actor: on the caller's goroutine, and not as the
// actor starts, since that is a turn of its parent, in which a producer could spawn nothing.
func (h *Host) Begin() { h.system.Root.Send(h.pid, &begin{h}) }

// hostActor is the actor of every host of a supervisor: it has no state of its own, for that of an object is in
// its instance.
type hostActor struct{ of *Supervisor }

type (
	begin          struct{ h *Host }
	methodPanicked struct{ reason any }
)

// Receive implements actor.Actor.
func (a *hostActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *begin:
		m.h.begun.Store(true)
		m.h.install()
	case *actor.Started:
		if h, ok := a.of.host(ctx.Self()); ok && h.begun.Load() { // restarted
			h.install()
		}
	case *methodPanicked:
		panic(m.reason) // the supervisor decides
	}
}

// install makes an instance and lets the calls that wait have it.
func (h *Host) install() {
	methods, shutdown := h.produce()
	inst := &instance{methods: methods, shutdown: shutdown}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		go runShutdown(h.logger, h.name, shutdown)
		return
	}
	h.inst = inst
	if h.ready != nil {
		close(h.ready)
		h.ready = nil
	}
}

// Recv takes one call. It does not block and runs nothing of the user's. A call that cannot be accepted is
// rejected before Recv returns. One that waits is given up, and answered so, when ctx ends; it keeps its place until
// its turn comes. m is memory for the call that nothing else has used, or nil: then the host makes it.
func (h *Host) Recv(ctx context.Context, r capnp.Recv, m *Waiting) {
	size := argsSize(r.Args)
	if err := h.admit(size); err != nil {
		r.Reject(err)
		return
	}
	if m == nil {
		m = new(Waiting)
	}
	w := &m.call
	w.Context, w.Returner, w.h, w.method, w.size = ctx, r.Returner, h, r.Method, size
	if h.calls.Load() > 1 { // one that is alone is run at once
		w.watch()
	}
	r.Returner = w
	h.mu.Lock()
	if h.stopped {
		err := h.why
		h.mu.Unlock()
		r.Reject(err)
		return
	}
	h.server().Recv(w, r)
	h.mu.Unlock()
}

func argsSize(args capnp.Struct) int64 {
	if msg := args.Message(); msg != nil {
		if n, err := msg.TotalSize(); err == nil {
			return int64(n)
		}
	}
	return 0
}

func (h *Host) admit(size int64) error {
	calls, bytes := h.calls.Add(1), h.bytes.Add(size)
	if calls > int64(h.admission.Calls) || bytes > int64(h.admission.Bytes) {
		h.endIfOver(h.uncount(size))
		return exc.New(exc.Overloaded, "", fmt.Sprintf(
			"%s: %d calls with %d bytes wait: Admission allows %d with %d",
			h.name, calls-1, bytes-size, h.admission.Calls, h.admission.Bytes))
	}
	return nil
}

// uncount gives back the place of a call, and says whether it was the last one.
func (h *Host) uncount(size int64) (last bool) {
	h.bytes.Add(-size)
	return h.calls.Add(-1) == 0
}

func (h *Host) endIfOver(last bool) {
	if last && h.closing.Load() {
		go h.end(nil) // not here: the caller may be inside Recv
	}
}

// server is the server to put a call into. The caller holds h.mu until it has, so that calls go in in the order
// in which they came, and the server is not retired in between.
func (h *Host) server() *server.Server {
	if h.srv == nil {
		h.srv = &idlingServer{Server: server.New(nil, h, nil)}
		h.srv.HandleUnknownMethod = anyMethod
		time.AfterFunc(idleServer, h.retire)
	}
	h.srv.used = true
	return h.srv.Server
}

// retire ends a server that has been idle, or looks again later.
func (h *Host) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.srv == nil {
		return
	}
	if h.srv.used || h.calls.Load() > 0 {
		h.srv.used = false
		time.AfterFunc(idleServer, h.retire)
		return
	}
	h.srv.Shutdown()
	h.srv = nil
}
