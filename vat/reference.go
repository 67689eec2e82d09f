package vat

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A reference is what local code and other sessions hold of a remote capability. It is the hook of a
// go-capnp client and follows resolutions: it has a gate, behind which the road for new calls is chosen.
//
// Looking up the road and enqueueing happen together, under the gate; a switch of roads takes it alone. So no
// caller is ever left with a road looked up before a Disembargo went down it and a call that goes after.
// Arguments are placed before the gate, turns run after it: nothing of the user's and nothing that blocks
// runs inside.
//
// States:
//
//	at home    road is home, where it was born: an import, or the answer to a Bootstrap or an Accept
//	contact    introduced, not yet accepted: the first parcel accepts it, and takes it to at home
//	moved      road is another: it was resolved, and order is kept by an embargo at the other end
//	held       road is nil: calls wait here until a marker has come back down the old road
//	settled    next is what it resolved to; road leads there, and on from there; home is let go. fixed is the same
//	           for what is pinned, which leads on from there only until it is told to a peer
type reference struct {
	vat *Vat

	mu        sync.RWMutex
	born      *importRef // its home, if that is an import, also when it has left
	home      road
	road      road
	contact   *contact
	held      []heldParcel
	next      *pin
	fixed     *pin         // settled, and pinned
	told      bool         // somebody has been told of fixed
	pinned    atomic.Int32 // fixedRefs
	watchers  []*watcher
	vine      *pin          // held until the Accept has succeeded
	accepting *questionRef  // the Accept; held until it has returned
	here      *acceptedHere // we are the host: the Accept is our own, and calls are held until it has settled
	shut      bool

	resolver  capnp.Resolver[capnp.Client] // nil: it will not resolve
	isPromise bool
}

var _ capnp.ClientHook = (*reference)(nil)
var _ road = (*reference)(nil)

// newReference makes a client with its reference at home on r, which it takes over a hold of.
func (v *Vat) newReference(r road, promise bool) (capnp.Client, *reference) {
	ref := &reference{vat: v, home: r, road: r, isPromise: promise}
	ref.born, _ = r.(*importRef)
	if !promise {
		return capnp.NewClient(ref), ref
	}
	c, resolver := capnp.NewPromisedClient(ref)
	ref.resolver = resolver
	return c, ref
}

// Send implements capnp.ClientHook: a call by local code.
func (r *reference) Send(ctx context.Context, s capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	return r.vat.send(ctx, s, r)
}

// Recv implements capnp.ClientHook: a call that go-capnp forwards. It may be called under locks of
// go-capnp, so it only enqueues.
func (r *reference) Recv(ctx context.Context, recv capnp.Recv) capnp.PipelineCaller {
	return r.vat.recv(ctx, recv, r)
}

// Brand implements capnp.ClientHook.
func (r *reference) Brand() capnp.Brand { return capnp.Brand{Value: r} }

// Shutdown implements capnp.ClientHook: the last client is gone. It only enqueues.
func (r *reference) Shutdown() {
	r.mu.Lock()
	r.shut = true
	home, next, fixed, vine, contact, q := r.home, r.next, r.fixed, r.vine, r.contact, r.accepting
	r.home, r.next, r.fixed, r.contact, r.accepting = nil, nil, nil, nil, nil
	if r.here != nil {
		vine = nil // kept until that has settled
		if len(r.held) == 0 {
			r.vat.later(r.here.leave)
		}
	} else {
		r.vine = nil
	}
	if r.road != nil {
		r.road = releasedRoad
	}
	r.mu.Unlock()
	r.letGo(q, home, vine)
	if contact != nil {
		contact.drop()
	}
	r.vat.freeLater(next, fixed)
}

// letGo drops the Accept, if there is one, and the way through the introducer. That is held until the Accept is
// finished, and so until all that was pipelined on it has been answered: the introducer withdraws the provision
// with it, and until the Accept has arrived that would be the end of all of them.
func (r *reference) letGo(accept *questionRef, home road, vine *pin) {
	if accept == nil {
		dropRoad(home)
		r.vat.freeLater(vine)
		return
	}
	accept.keep(func() {
		dropRoad(home)
		r.vat.freeLater(vine)
	})
	accept.drop()
}

func (r *reference) String() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fmt.Sprintf("vatwork.reference{%v}", r.road)
}

// put enqueues p on the road of the moment.
func (r *reference) put(p parcel) { r.putWhere(p, false) }

// putWhere enqueues p on the road of the moment: of callers, who follow, or of what is pinned.
func (r *reference) putWhere(p parcel, fixed bool) {
	r.mu.RLock()
	if road := r.roadOf(fixed); road != nil && r.contact == nil {
		if r.vat.breaks(hook.Gate) {
			r.vat.later(func() { road.put(p); road.wake() })
		} else {
			road.put(p)
		}
		r.mu.RUnlock()
		return
	}
	r.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acceptLocked()
	if road := r.roadOf(fixed); road != nil {
		road.put(p)
		return
	}
	r.held = append(r.held, heldParcel{waiting(p), fixed})
}

// roadOf is the road of the moment, nil while calls are held. The caller holds r.mu.
func (r *reference) roadOf(fixed bool) road {
	if fixed && r.fixed != nil {
		return r.fixed.road
	}
	return r.road
}

func (r *reference) wake() {
	if road := r.roadNow(); road != nil {
		road.wake()
	}
}

func (r *reference) run() {
	if road := r.roadNow(); road != nil {
		road.run()
	}
}

func (r *reference) roadNow() road {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.road
}

// acceptLocked turns a contact into an Accept under way, without embargo where nothing was called before. Whoever puts
// something on r wakes the road for that, and so for the Accept: a caller that may runs both itself.
func (r *reference) acceptLocked() {
	c := r.contact
	if c == nil {
		return
	}
	r.contact = nil
	r.accepting, r.road = c.accept(r, c.embargo())
	r.vine = c.vine
}

// moveTo switches new calls to the road that to returns, whose other end keeps order by an embargo. to runs
// inside the gate: what it enqueues comes ahead of all calls on the new road and behind all on the old. It does
// nothing, and says so, if r was let go.
func (r *reference) moveTo(to func() road) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return false
	}
	r.road = to()
	return true
}

// keepBackUnused keeps new calls back if nothing was ever put on the import where r is at home, and reports
// whether that is so.
func (r *reference) keepBackUnused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.home.(*importRef)
	if !ok || i.used.Load() || r.road != r.home {
		return false
	}
	r.road = nil
	return true
}

// keepBack holds new calls until settle.
func (r *reference) keepBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.shut && r.next == nil {
		r.road = nil
	}
}

// settle resolves r to c for good: what was held goes there, then new calls do. All that went down the old
// road must be in the mailbox that c leads to, or ahead of a Disembargo. It borrows c, and may be called in
// a turn.
func (r *reference) settle(c capnp.Client) { r.settleOn(r.vat.pinClient(c)) }

// settleOn is settle on what fixed pins, which it takes over: all that went down the old road was put there.
//
// What was held goes ahead of what is told to those who watch: up to there all goes the same way.
func (r *reference) settleOn(fixed pin) {
	r.vat.resolving.Lock()
	defer r.vat.resolving.Unlock()
	if fixed.isOf(r) || goesRound(fixed.road, r) {
		r.vat.freeLater(&fixed)
		fixed = r.vat.follow(capnp.ErrorClient(errCircle))
	}
	next := r.vat.onward(fixed)
	r.mu.Lock()
	if r.next != nil {
		panic("vat: reference settled twice")
	}
	fixed, _ = r.vat.handOn(fixed, r.held, next.road, r.watchers, nil)
	r.held = nil
	// From the unlocking on, next and fixed may be released with r.
	mine, pinned := next.again(), fixed.again()
	defer r.vat.freeLater(&mine, &pinned)
	home, vine, q := r.home, r.vine, r.accepting
	r.home, r.vine, r.accepting, r.here = nil, nil, nil, nil
	r.road = next.road
	watchers := r.watchers
	r.watchers, r.told = nil, len(watchers) > 0
	shut := r.shut
	keep := !shut && r.pinned.Load() > 0
	if !shut {
		r.next = &next
	}
	if keep {
		r.fixed = &fixed
	}
	r.mu.Unlock()

	mine.road.wake()
	pinned.road.wake()
	for _, w := range watchers {
		w.tell(pinned.again(), nil)
	}
	r.letGo(q, home, vine)
	if !keep {
		r.vat.freeLater(&fixed)
	}
	if shut {
		r.vat.freeLater(&next)
	} else if r.resolver != nil {
		add := mine.client() // not c: a promise of go-capnp's is followed by way of ours for it
		if o, ok := mine.road.(*object); ok && o.queue != nil {
			// Calls that came this way may wait in the queue of the object: local callers go through it too.
			add.Release()
			add = r.vat.throughQueue(o, mine)
		}
		r.vat.later(func() {
			r.resolver.Fulfill(add)
			add.Release()
		})
	}
}

// isOf says whether p is a pin on r, wherever that was pinned to.
func (p pin) isOf(r *reference) bool {
	if !p.snap.IsValid() {
		return false
	}
	x, ok := p.snap.Brand().Value.(*reference)
	return ok && x == r
}

// breakWith settles r on an error.
func (r *reference) breakWith(err error) {
	if r.settled() {
		return
	}
	r.settle(capnp.ErrorClient(err))
}

func (r *reference) settled() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next != nil
}

// watch has w, which holds a fixedRef to r, told once r has settled; at once if it has.
func (r *reference) watch(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.next == nil:
		r.watchers = append(r.watchers, w)
	case r.fixed != nil:
		if !r.told {
			*r.fixed, r.told = w.s.told(*r.fixed), true
		}
		w.tell(r.fixed.again(), nil)
	}
}

// unwatch forgets w.
func (r *reference) unwatch(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, x := range r.watchers {
		if x == w {
			r.watchers = append(r.watchers[:i], r.watchers[i+1:]...)
			return
		}
	}
}

// resolvedTo is a pin on what r, which has settled, settled on, for whoever holds a fixedRef.
func (r *reference) resolvedTo() pin {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.fixed == nil {
		return pin{road: brokenRoad{failed("reference was released")}}
	}
	return r.fixed.again()
}

// end is the road of what is pinned to r now, held for the caller.
func (r *reference) end() road {
	r.mu.RLock()
	defer r.mu.RUnlock()
	to := r.road
	switch {
	case r.isPromise && r.next == nil && !r.shut:
		to = fixedRef{r}
	case r.fixed != nil:
		to = r.fixed.road
		if _, leadsOn := to.(fixedRef); leadsOn {
			// That reference is kept by what r has settled on, and not by a hold on the road to it.
			to = fixedRef{r}
		}
	}
	switch x := to.(type) {
	case *reference:
		return x.end()
	case callersOf:
		to = x.promise
	case answerRoad:
		x.fixed = true
		to = x
	}
	if h, ok := to.(holder); ok {
		h.hold()
	}
	return to
}

func dropRoad(r road) {
	if h, ok := r.(holder); ok {
		h.drop()
	}
}

// goesRound says whether local callers who take the road from come by to: a reference or a promise. What is called there
// would go round for ever, and each would hold the next: so the promises on the way break. The caller holds Vat.resolving,
// and breaks to.
func goesRound(from, to road) bool {
	at, by := leadsTo(from, to)
	if at == nil {
		return false
	}
	breakAll(by)
	return true
}

func breakAll(circle []*promise) {
	for _, p := range circle {
		p.breakWith(errCircle)
	}
}

// leadsTo is where local callers who take the road from come by to, which is a reference, a promise, or any part of an
// answer, and by which promises; nil if they do not. The caller holds Vat.resolving.
func leadsTo(from, to road) (at road, by []*promise) {
	for !isPartOf(from, to) {
		switch x := from.(type) {
		case fixedRef:
			from = x.r
		case callersOf:
			from = x.promise
		case answerRoad:
			from = x.current()
		case *reference:
			from = x.roadNow()
		case *promise:
			from, by = x.callersGo(), append(by, x)
		default:
			return nil, nil
		}
	}
	return from, by
}

func isPartOf(part, of road) bool {
	if x, ok := part.(answerRoad); ok {
		whole, ok := of.(answerRoad)
		return ok && whole.a == x.a
	}
	return part == of
}
