package vat

import (
	"sync"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// An object is a capability hosted here that a session or a promise knows: the road to it. There is one for
// each hook of go-capnp and vat, so that there is one queue in front of each, and it lives as long as it is
// held.
//
// A server.Server of go-capnp only enqueues: calls are handed to it where they arrive, by an actor that runs
// inline. Any other hook may block, so its actor has a queue and runs on a goroutine of its own.
type object struct {
	vat   *Vat
	hook  *capnp.Metadata // identifies the hook
	name  string
	host  *objectActor
	queue *actors.Queue // nil: inline

	mu    sync.Mutex
	holds int
}

var _ road = (*object)(nil)
var _ holder = (*object)(nil)

type objectKey struct{ v *Vat }

// objectOf is the object for the hook of s, held for the caller. It borrows s.
func (v *Vat) objectOf(s capnp.ClientSnapshot, isServer bool) road {
	md := s.Metadata()
	md.Lock()
	defer md.Unlock()
	if x, ok := md.Get(objectKey{v}); ok {
		o := x.(*object)
		if o.tryHold() {
			return o
		}
	}
	o := &object{vat: v, hook: md, holds: 1}
	if err := v.host(o, s, isServer); err != nil {
		return brokenRoad{err}
	}
	o.name = o.host.name
	v.nodes.add(o.name, o.node)
	md.Put(objectKey{v}, o)
	return o
}

func (o *object) tryHold() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds == 0 {
		return false
	}
	o.holds++
	return true
}

func (o *object) hold() {
	if !o.tryHold() {
		panic("vat: object held after its last holder let go")
	}
}

// dropUnlessLast is drop for a holder that is not the last, and says whether it was one.
func (o *object) dropUnlessLast() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds <= 1 {
		return false
	}
	o.holds--
	return true
}

func (o *object) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.holds--; o.holds > 0 {
		return
	}
	o.vat.nodes.remove(o.name)
	if o.queue == nil && o.vat.vacate(o.host) {
		return
	}
	// Calls that wait stay deliverable: the actor stops behind them.
	o.vat.system.Root.Send(o.host.pid, &stopObject{})
}

func (o *object) put(p parcel) {
	if c, ok := p.(*call); ok {
		c.delivered, c.to = false, o
		o.hand((*deliverCall)(c), p, &c.delivered)
		return
	}
	d := &deliver{parcel: p}
	o.hand(d, p, &d.done)
}

// hand puts m, which brings p, where it is done with, or will be.
func (o *object) hand(m any, p parcel, done *bool) {
	if o.queue != nil {
		if !o.queue.Enqueue(m) {
			p.reject(disconnected("the object has stopped"))
		}
		return
	}
	o.vat.system.Root.Send(o.host.pid, m)
	if !*done {
		p.reject(failed("the object could not take the call: its actor has failed"))
	}
}

func (o *object) wake() {
	if o.queue != nil {
		o.queue.Wake()
	}
}

// run does not use the caller's goroutine: objects block on their own.
func (o *object) run() { o.wake() }

func (o *object) node() Node {
	n := Node{Kind: "object", Name: o.name, State: "serving"}
	if o.queue != nil {
		n.Mailbox = o.queue.UserMessageCount()
	}
	return n
}

func (o *object) String() string { return o.name }

type (
	deliver struct {
		parcel parcel
		done   bool
	}
	deliverCall call // which needs no memory for that
	stopObject  struct{}
)

func (a *objectActor) call(c *call) {
	if c.ctx.Err() != nil {
		c.reject(callerError(c.ctx))
		return
	}
	if a.server && c.method.InterfaceID == transport.Watched_TypeID {
		c.vat.park(c, nil, nil) // a server of go-capnp never breaks
		return
	}
	r := newReturner(c)
	recv := capnp.Recv{Method: c.method, Args: c.args(), Returner: r, ReleaseArgs: withReturn}
	if a.server {
		r.inside.Store(true)
		r.server, c.first = true, !a.called
		a.called = true
		r.argsDone.Store(true)
	} else {
		recv.ReleaseArgs = c.releaseArgs
	}
	a.snap.Recv(r, recv)
	r.inside.Store(false)
}

// A returner is the Returner of one call delivered to an object, and the context of its method, from which TailCall
// has it: see method_context.go. As a Returner it may be used from any goroutine.
type returner struct {
	call *call
	msg  atomic.Pointer[capnp.Message]
	res  capnp.Struct
	err  error

	handedOver bool // to a tail call: there is nothing to return
	piped      bool // see SetPipeline
	here       bool // the results are for local code

	// The method is a server's of go-capnp: it returns on a goroutine of the object's with no lock held, which may run
	// turns, unless it does so inside, while it is being handed the call.
	server bool
	inside atomic.Bool

	argsDone, prepared atomic.Bool // see argsOver
}

var _ capnp.Returner = (*returner)(nil)

func newReturner(c *call) *returner {
	r := c.returner
	if r == nil {
		r = new(returner)
	}
	r.call = c
	return r
}

// withReturn is how a server of go-capnp lets go of the arguments: it is about to call PrepareReturn, which does. A function
// for each call would be allocated.
func withReturn() {}

// argsOver is how an object actor lets go of the arguments: before PrepareReturn, but after it where the call was given up.
// A server may do so while it is being handed the call, to refuse it, and so under our locks, which the Shutdown of a
// capability in the arguments may want. So what is refused lets go of them later.
func (r *returner) argsOver() {
	r.argsDone.Store(true)
	if r.prepared.Load() {
		r.call.releaseLater()
	}
}

// AllocResults implements capnp.Returner.
func (r *returner) AllocResults(sz capnp.ObjectSize) (capnp.Struct, error) {
	if r.msg.Load() != nil {
		return capnp.Struct{}, failed("AllocResults called twice")
	}
	if r.server {
		r.inside.Store(false) // this is the method
	}
	res, err := r.newResults(sz)
	if err != nil {
		return capnp.Struct{}, err
	}
	r.msg.Store(res.Message())
	r.res = res
	return res, nil
}

func (r *returner) newResults(sz capnp.ObjectSize) (capnp.Struct, error) {
	if _, r.here = r.call.ret.(*promisedAnswer); r.here {
		return capnp.NewRootStruct(newSegment(), sz)
	}
	// In a Return, so that nothing is copied where they go to a peer.
	payload := must(must(newMessage().NewReturn()).NewResults())
	res, err := capnp.NewStruct(payload.Segment(), sz)
	if err != nil {
		return res, err
	}
	return res, payload.SetContent(res.ToPtr())
}

// allocated says whether res are the results that r has allocated. A method may have the context of another one, that
// called it without a vat in between: so only they tell whose call r is.
func (r *returner) allocated(res capnp.Struct) bool {
	return res.IsValid() && res.Message() == r.msg.Load()
}

// PrepareReturn implements capnp.Returner.
func (r *returner) PrepareReturn(err error) {
	r.err = err
	r.prepared.Store(true)
	switch {
	case !r.argsDone.Load():
	case err != nil && r.inside.Load():
		r.call.releaseLater()
	default:
		r.call.releaseArgs()
	}
}

// Return implements capnp.Returner.
func (r *returner) Return() {
	res := result{err: r.err}
	if msg := r.msg.Load(); msg != nil {
		if r.err == nil && !r.handedOver {
			res = r.call.vat.newResult(r.res.ToPtr(), msg)
			res.ready = !r.here
		} else {
			recycle(msg)
		}
	}
	if r.handedOver {
		return
	}
	if r.server && !r.inside.Load() {
		switch to := r.call.ret.(type) {
		case *answerRef:
			if !r.call.first {
				to.settleAndRun(res)
				return
			}
		case *promisedAnswer:
			to.settleHere(res)
			return
		}
	}
	r.call.ret.settle(res)
}

// ReleaseResults implements capnp.Returner: the results belong to whoever they were handed to.
func (r *returner) ReleaseResults() {}
