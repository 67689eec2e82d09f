package vat

import (
	"context"
	"fmt"
	"strings"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// A SpawnOption says more of an object that [Spawn] makes.
type SpawnOption func(*spawnOptions)

type spawnOptions struct {
	name      string
	policy    actors.Policy
	admission actors.Admission
}

// Named gives the object a name: object/<name> in the tree, in logs and in errors. It must be free.
func Named(name string) SpawnOption { return func(o *spawnOptions) { o.name = name } }

// Supervised says what becomes of the object when a method panics.
func Supervised(p actors.Policy) SpawnOption { return func(o *spawnOptions) { o.policy = p } }

// Admitting bounds what may wait for the object.
func Admitting(a actors.Admission) SpawnOption { return func(o *spawnOptions) { o.admission = a } }

// Spawn makes a capability object that is an actor of v and returns the first reference to it. The caller
// releases it; when the last one is gone, here and at peers, the object ends, after the calls it has accepted.
//
// methods is what capnpc-go generated for the interface, produce makes an instance of the server:
//
//	greeter, err := vat.Spawn[Greeter](v, Greeter_Methods, func() Greeter_Server { return &greeter{} })
//
// Calls are run one at a time, in the order in which they were made; call.Go lets the next one begin, as go-capnp
// documents it. Without it, a method that waits for a call on its own object waits for ever: so a method that
// calls itself, or something that calls it back, and waits for the result, begins with call.Go.
//
// A method that panics: its caller gets an exception with the panic's text, the stack goes to the log, and
// produce makes a new instance, on which the calls that wait are run. References stay good. If that happens too
// often (see actors.Policy) the object stops: all calls on it, those that wait too, fail with why, and
// whoever watches it is told (see [Vat.Watch]). Shutdown, if the instance has one, is called once for each
// instance, when no method runs on it any more.
//
// When a caller's context ends, a call of its that waits is given up and answered, and one that runs sees it in its
// context. What does not fit in front of the object (see actors.Admission) is answered overloaded, at once.
func Spawn[C ~capnp.ClientKind, S any](v *Vat, methods func([]server.Method, S) []server.Method, produce func() S, opts ...SpawnOption) (C, error) {
	var o spawnOptions
	for _, opt := range opts {
		opt(&o)
	}
	c, err := v.spawnObject(o, func() ([]server.Method, func()) {
		s := produce()
		var shutdown func()
		if x, ok := any(s).(server.Shutdowner); ok {
			shutdown = x.Shutdown
		}
		return methods(nil, s), shutdown
	})
	return C(c), err
}

func (v *Vat) spawnObject(o spawnOptions, produce func() ([]server.Method, func())) (capnp.Client, error) {
	if strings.ContainsAny(o.name, "/ ") || len(o.name) > transport.MaxNameBytes {
		return capnp.Client{}, fmt.Errorf("vat: object name %q: want at most %d bytes, no space, no slash", o.name, transport.MaxNameBytes)
	}
	if o.name == "" {
		o.name = v.serialName()
	}
	x := &spawned{vat: v, name: "object/" + o.name}
	host, err := actors.NewHost(v.system, actors.HostConfig{
		Name:      x.name,
		Produce:   produce,
		Policy:    o.policy,
		Admission: o.admission,
		Logger:    v.log,
		Owner:     x,
	})
	if err != nil {
		return capnp.Client{}, err
	}
	x.host = host
	pid, err := v.spawn(x.name, v.supervisor.Props())
	if err != nil {
		return capnp.Client{}, fmt.Errorf("vat: %s cannot be spawned: %w", x.name, err)
	}
	v.mu.Lock()
	closed := v.closed
	if !closed {
		v.supervisor.Add(pid, host)
	}
	v.mu.Unlock()
	if closed {
		host.End(disconnected("the vat is closed"))
		return capnp.Client{}, disconnected("the vat is closed")
	}
	host.Begin()
	return capnp.NewClient(x), nil
}

// spawned is the hook and the road of an object made by Spawn. Its host does the work.
type spawned struct {
	vat  *Vat
	name string
	host *actors.Host
}

var _ capnp.ClientHook = (*spawned)(nil)
var _ road = (*spawned)(nil)
var _ actors.Owner = (*spawned)(nil)

// Send implements capnp.ClientHook. What is pipelined on the call waits with us, not in go-capnp's
// AnswerQueue, which panics when a method returns null while calls on calls wait.
func (x *spawned) Send(ctx context.Context, s capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	return x.vat.send(ctx, s, x)
}

// Recv implements capnp.ClientHook.
func (x *spawned) Recv(ctx context.Context, r capnp.Recv) capnp.PipelineCaller {
	return x.vat.recv(ctx, r, x)
}

// Brand implements capnp.ClientHook.
func (x *spawned) Brand() capnp.Brand { return capnp.Brand{Value: x} }

// Shutdown implements capnp.ClientHook: the last reference is gone. It does not wait.
func (x *spawned) Shutdown() { x.host.Close() }

func (x *spawned) String() string { return x.name }

func (x *spawned) put(p parcel) {
	c, ok := p.(*call)
	switch {
	case !ok:
		strayed(p)
	case c.ctx.Err() != nil:
		c.reject(callerError(c.ctx))
	case c.method.InterfaceID == transport.Watched_TypeID:
		x.vat.park(c, x.host.Broken(), x.host.Err)
	default:
		r := newReturner(c)
		r.inside.Store(true)
		r.server = true
		w := c.waiting
		c.waiting = nil
		x.host.Recv(r, capnp.Recv{Method: c.method, Args: c.args(), Returner: r, ReleaseArgs: r.argsOver}, w)
		r.inside.Store(false)
	}
}

func (x *spawned) wake() {}
func (x *spawned) run()  {}

// Escalated implements actors.Owner.
func (x *spawned) Escalated(why error) { x.vat.escalated(why) }

// Stopped implements actors.Owner.
func (x *spawned) Stopped(why error) {
	if why != nil && x.vat.ctx.Err() == nil { // that it ends with its vat is no news
		x.vat.log.Error("object stopped", "object", x.name, "why", why)
	}
	x.vat.supervisor.Remove(x.host)
}

func (x *spawned) node() Node {
	state, calls := x.host.State()
	return Node{Kind: "object", Name: x.name, State: state, Mailbox: calls}
}

// escalated: the policy of an object makes its failure that of the vat.
func (v *Vat) escalated(why error) {
	v.log.Error("object failed, and the vat with it", "why", why)
	v.failureMu.Lock()
	if v.failure == nil {
		v.failure = why
	}
	v.failureMu.Unlock()
	go v.Close()
}

// Done is closed when the vat has closed, or begins to because an object's failure was escalated to it: Err then
// says why, and is nil after an ordinary Close.
func (v *Vat) Done() <-chan struct{} { return v.ctx.Done() }

// Err is the failure that was escalated to the vat, if any.
func (v *Vat) Err() error {
	v.failureMu.Lock()
	defer v.failureMu.Unlock()
	return v.failure
}
