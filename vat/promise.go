package vat

import (
	"context"
	"fmt"

	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"
)

// A promise is a capability that local code will resolve: promise/<n> in the actor tree, and its road.
//
// Its actor runs inline and only enqueues elsewhere, so what is put on a promise has passed through it when
// put returns: that is what keeps a call on a promise from being overtaken by one that goes straight to what
// it resolved to. Peers' calls pass through it until their exports of it are released; local callers
// follow the resolution.
//
// It settles in one turn: a Provide for each session that it is exported to and to which the capability can be
// handed off, then its queue, then the news to those sessions.
//
// It lives as long as somebody holds it, or a call waits on it: that stands for an interest in what comes of it.
//
// Promises are resolved one at a time in a vat (Vat.resolving), which is what makes the check for a cycle
// certain, and the locks of a chain of promises acyclic.
type promise struct {
	vat      *Vat
	name     string
	pid      *actor.PID
	actor    *promiseActor
	abandon  func()    // nobody holds it any more
	adopted  *adoption // it stands for a promise of go-capnp's, or a part of results
	resolver capnp.Resolver[capnp.Client]
}

var _ capnp.ClientHook = (*promise)(nil)
var _ road = (*promise)(nil)
var _ holder = (*promise)(nil)

// NewPromise makes a promise of v: calls on the client wait in an actor of the vat until the resolver is
// fulfilled or rejected, which has to happen once, and they then go where it leads, in order, by handoff where
// that is another vat.
//
// It is used like capnp.NewLocalPromise: the caller releases the client; Fulfill takes over the reference that
// it is given. Unlike there, a promise may be fulfilled with a null or broken client. A second Fulfill or
// Reject panics.
func NewPromise[C ~capnp.ClientKind](v *Vat) (C, capnp.Resolver[C]) {
	c, p := v.newPromise()
	return C(c), promiseResolver[C]{p}
}

type promiseResolver[C ~capnp.ClientKind] struct{ p *promise }

func (r promiseResolver[C]) Fulfill(c C)      { r.p.resolve(capnp.Client(c)) }
func (r promiseResolver[C]) Reject(err error) { r.p.resolve(capnp.ErrorClient(err)) }

func (v *Vat) newPromise() (capnp.Client, *promise) {
	p := &promise{
		vat: v, name: fmt.Sprintf("promise/%d", v.serial.Add(1)),
		actor: &promiseActor{state: promiseState{vat: v, limit: v.limits.Pipelined}},
	}
	pid, err := v.spawnInline(p.name, p.actor)
	if err != nil {
		return capnp.ErrorClient(err), p
	}
	p.pid = pid
	v.promises.Add(1)
	v.living.Store(p, nil)
	v.nodes.add(p.name, p.node)
	c, resolver := capnp.NewPromisedClient(p)
	p.resolver = resolver
	if v.ctx.Err() != nil {
		p.close() // the vat, which is closing, may not have seen it
	}
	return c, p
}

// Send implements capnp.ClientHook.
func (p *promise) Send(ctx context.Context, s capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	return p.vat.send(ctx, s, callersOf{p})
}

// Recv implements capnp.ClientHook. It only enqueues.
func (p *promise) Recv(ctx context.Context, r capnp.Recv) capnp.PipelineCaller {
	return p.vat.recv(ctx, r, callersOf{p})
}

// Brand implements capnp.ClientHook.
func (p *promise) Brand() capnp.Brand { return capnp.Brand{Value: p} }

// Shutdown implements capnp.ClientHook: nobody can call it any more. It only enqueues.
func (p *promise) Shutdown() {
	p.vat.later(func() {
		over := true // unless its actor says otherwise, which may have failed
		p.visit(func(s *promiseState) {
			s.shut = true
			over = s.endIfDone()
		})
		if over {
			p.end()
		}
	})
}

// endIfOver ends p if it was shut down, and this was the last that it lived for.
func (p *promise) endIfOver() {
	over := false
	p.visit(func(s *promiseState) { over = s.shut && s.endIfDone() })
	if over {
		p.vat.later(p.end)
	}
}

// end is called once: p was shut down, and nothing waits on it. It enters code that is not ours.
func (p *promise) end() {
	if p.abandon != nil {
		p.abandon()
	}
	st := &p.actor.state // as it was left, also where its actor has stopped with the vat
	p.vat.nodes.remove(p.name)
	p.vat.living.Delete(p)
	p.vat.system.Root.Stop(p.pid)
	p.vat.promises.Add(-1)
	if st.to.road != nil {
		st.to.free()
		st.fixed.free()
	}
}

// close rejects what waits on p, now and from now on: the vat is closing.
func (p *promise) close() {
	over := false
	p.visit(func(s *promiseState) {
		over = s.close(disconnected("the vat %s is closing", p.vat.ID().Short()))
	})
	if over {
		p.vat.later(p.end)
	}
}

// closePromises leaves nobody waiting for what will not come.
func (v *Vat) closePromises() {
	v.living.Range(func(p, _ any) bool {
		p.(*promise).close()
		return true
	})
}

func (p *promise) node() Node {
	n := Node{Kind: "promise", Name: p.name, State: "failed"}
	p.visit(func(s *promiseState) {
		if n.State, n.Waiting = "unresolved", len(s.queue); s.to.road != nil {
			n.State = "resolved"
		}
	})
	return n
}

func (p *promise) String() string { return p.name }

func (p *promise) put(x parcel) { p.putWhere(x, true) }

// putWhere puts x on the promise: it comes from what is pinned to it, or from local callers.
func (p *promise) putWhere(x parcel, fixed bool) {
	var caller context.Context
	if c, ok := x.(*call); ok && p.abandon != nil {
		caller = c.ctx
	}
	waits := false
	if !p.visit(func(s *promiseState) { s.put(x, fixed); waits = s.to.road == nil }) {
		err := failed("the promise has failed")
		if p.vat.ctx.Err() != nil {
			err = disconnected("the vat %s is closed", p.vat.ID().Short())
		}
		x.reject(err)
	}
	if waits && caller != nil {
		context.AfterFunc(caller, p.endIfOver) // given up, it may have been the last that p lived for
	}
}

func (p *promise) wake() {
	if to := p.settledOn(); to != nil {
		to.wake()
	}
}

func (p *promise) run() {
	if to := p.settledOn(); to != nil {
		to.run()
	}
}

func (p *promise) unresolved() bool { return p.settledOn() == nil }

// settledOn is where what is pinned to p goes on from there, nil before p has resolved.
func (p *promise) settledOn() (to road) {
	p.visit(func(s *promiseState) { to = s.fixed.road })
	return to
}

// callersGo is where local callers go on from p, nil before it has resolved.
func (p *promise) callersGo() (to road) {
	p.visit(func(s *promiseState) { to = s.to.road })
	return to
}

// callersOf is the road of local callers of a promise: they follow on from what it resolved to.
type callersOf struct{ *promise }

func (c callersOf) put(x parcel) { c.putWhere(x, false) }

func (c callersOf) wake() {
	if to := c.callersGo(); to != nil {
		to.wake()
	}
}

func (c callersOf) run() {
	if to := c.callersGo(); to != nil {
		to.run()
	}
}

// watch has w told once p has resolved; at once if it has.
func (p *promise) watch(w *watcher) {
	p.visit(func(s *promiseState) { s.watch(w) })
}

func (p *promise) unwatch(w *watcher) {
	p.visit(func(s *promiseState) { s.unwatch(w) })
}

// resolve takes over c.
func (p *promise) resolve(c capnp.Client) {
	defer c.Release()
	p.settleOn(p.vat.pinClient(c))()
}

// settleOn resolves p to next, which it takes over, and returns what is left to do: to have local callers follow,
// which enters go-capnp. Itself it may be called in a turn.
func (p *promise) settleOn(next pin) (fulfil func()) {
	if p.pid == nil {
		p.vat.freeLater(&next)
		return func() {} // made when the vat was closed: broken from the start
	}
	p.vat.resolving.Lock()
	defer p.vat.resolving.Unlock()
	if goesRound(next.road, p) {
		p.vat.freeLater(&next)
		next = p.vat.follow(capnp.ErrorClient(errCircle))
	}
	// Local callers follow by the same road: where it is a promise of go-capnp's, by way of ours for it.
	callers := p.vat.onward(next)
	follow := callers.client()
	if o, ok := next.road.(*object); ok && o.queue != nil {
		// The calls that waited may wait again, in the queue of the object: local callers go through it too.
		through := p.vat.throughQueue(o, next)
		p.vat.later(follow.Release)
		follow = through
	}
	p.settle(next, callers, nil)
	return func() {
		if p.resolver != nil {
			p.resolver.Fulfill(follow)
		}
		follow.Release()
	}
}

// resolveTo settles p on the results of a call that went out with its results for a third party: intro names
// them to that party alone.
func (p *promise) resolveTo(next pin, intro *introduction) {
	p.vat.resolving.Lock()
	defer p.vat.resolving.Unlock()
	p.settle(next, next.again(), intro)
}

// settle is the one turn in which p resolves to next, and has local callers go where callers leads.
func (p *promise) settle(next, callers pin, intro *introduction) {
	var again, over bool
	done := p.visit(func(s *promiseState) {
		if again = s.to.road != nil; !again {
			s.to = callers
			s.settle(next, intro)
			over = s.shut && s.endIfDone()
		}
	})
	switch {
	case again:
		p.vat.freeLater(&next, &callers)
		panic("vat: promise resolved twice")
	case !done:
		p.vat.freeLater(&next, &callers) // it was abandoned
	default:
		next.road.wake()
	}
	if over {
		p.vat.later(p.end)
	}
}

// breakWith makes a promise that has resolved to itself, by way of others, lead nowhere.
func (p *promise) breakWith(err error) {
	p.visit(func(s *promiseState) {
		to, fixed := s.to, s.fixed
		s.to, s.fixed = pin{road: brokenRoad{err}}, pin{road: brokenRoad{err}}
		p.vat.freeLater(&to, &fixed)
	})
}

// visit has f run in the promise's actor, and says whether it ran to its end.
func (p *promise) visit(f func(*promiseState)) bool {
	m := &visitPromise{f: f}
	if p.pid != nil {
		p.vat.system.Root.Send(p.pid, m)
	}
	return m.done
}

type visitPromise struct {
	f    func(*promiseState)
	done bool
}

type promiseActor struct{ state promiseState }

func (a *promiseActor) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*visitPromise); ok {
		m.f(&a.state)
		m.done = true
	}
}
