package vat

import (
	"sync"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// EarlyReturn names a method whose calls are answered before they are delivered, with promises for the
// capabilities of the results, where they would have to wait on a promise and the caller is a Vatwork vat.
// Then what the caller pipelines can be handed off too.
//
// That is the interface author's choice: an error comes as broken promises, and canceling the call no longer
// does. So it is for methods whose results are capabilities and nothing else, at least one.
type EarlyReturn struct {
	Interface uint64
	Method    uint16
	// Caps are the capabilities in the results, each as its path of pointer fields from the root.
	Caps [][]uint16
}

type methodID struct {
	iface  uint64
	method uint16
}

// earlyReturn is the sink of a call whose caller has promises for its results. The call lives as long as one of
// them, or a vine for it, is held.
type earlyReturn struct {
	caller   *session
	paths    [][]uint16
	promises []*promise   // nil: resolved to results that were set early
	alive    atomic.Int32 // promises that are held
	ref      *answerRef   // of the call, for its context and its flight
	givenUp  callerWatch

	mu    sync.Mutex
	on    *questionRef // the call went out on a wire; held until it is settled
	moved bool         // the promises were resolved to results kept elsewhere
	over  bool         // its result is here
}

var _ sink = (*earlyReturn)(nil)

// forwarded implements sink. The promises wait for the results, and so does what is pipelined on them.
func (e *earlyReturn) forwarded(q *questionRef) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over { // it was let go of as it went out
		e.caller.vat.later(q.drop)
		return
	}
	e.on = q
}

// settle implements sink. Only the first result counts: a call that waits is settled as it is let go of.
func (e *earlyReturn) settle(r result) {
	v := e.caller.vat
	e.mu.Lock()
	again, moved, q := e.over, e.moved, e.on
	e.over, e.on = true, nil
	e.mu.Unlock()
	if again {
		v.later(r.free)
		return
	}
	if r.err != nil && v.ctx.Err() != nil {
		// The context of the call ended with the vat: nobody who holds what was promised has canceled anything.
		r.err = disconnected("the vat %s is closing", v.ID().Short())
	}
	e.givenUp.end()
	e.ref.ctx.cancel()
	v.later(func() {
		for i, p := range e.promises {
			if !moved && p != nil {
				p.resolve(r.clientAt(e.paths[i]))
			}
		}
		r.free()
		e.ref.flight.end()
		if q != nil {
			q.drop()
		}
	})
}

// clientAt is a client for the capability at path. The caller releases it.
func (r result) clientAt(path []uint16) capnp.Client {
	if r.err != nil {
		return capnp.ErrorClient(r.err)
	}
	p, err := capnp.Transform(r.content, pipelineOps(path))
	if err != nil {
		return capnp.ErrorClient(err)
	}
	return p.Interface().Client().AddRef()
}

func pipelineOps(path []uint16) []capnp.PipelineOp {
	ops := make([]capnp.PipelineOp, len(path))
	for i, f := range path {
		ops[i].Field = f
	}
	return ops
}

// deliverCall puts a call of the peer's on its road, after answering it if it may be answered early.
func (s *session) deliverCall(to road, c *call) {
	s.returnEarly(to, c)
	s.deliver(to, c)
}

// returnEarly answers c with promises, if it would have to wait on an unresolved promise of ours and its method
// is one of those for which that is wanted. c's sink becomes those promises.
func (s *session) returnEarly(to road, c *call) {
	ref, ok := c.ret.(*answerRef)
	paths, wanted := s.vat.early[methodID{c.method.InterfaceID, c.method.MethodID}]
	p, waits := to.(*promise)
	if !ok || !wanted || !waits || len(ref.kept) > 0 || !s.has(transport.FeatureKeptResults|transport.FeatureHandoff) || !p.unresolved() {
		return
	}
	running := false
	s.answers.visit(ref.id, func(a *answer) { running = a.ref == ref && !a.finished })
	if !running {
		return
	}
	e := &earlyReturn{caller: s, paths: paths, ref: ref}
	res := e.results(s.vat)
	ref.early = true
	ref.caller.end()
	c.ret, c.early = e, e
	for _, p := range e.promises {
		p.abandon = func() {
			if e.alive.Add(-1) == 0 {
				e.ref.ctx.cancel()
			}
		}
	}
	s.settleAnswer(ref.id, &res)
}

// results builds results of promises and nothing else.
func (e *earlyReturn) results(v *Vat) result {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	root := must(capnp.NewRootStruct(seg, structFor(e.paths, 0)))
	for _, path := range e.paths {
		at := root
		for depth, f := range path[:len(path)-1] {
			next := must(at.Ptr(f)).Struct()
			if !next.IsValid() {
				next = must(capnp.NewStruct(seg, structFor(e.paths, depth+1)))
				check(at.SetPtr(f, next.ToPtr()))
			}
			at = next
		}
		c, p := v.newPromise()
		e.promises = append(e.promises, p)
		id := msg.CapTable().Add(c)
		check(at.SetPtr(path[len(path)-1], capnp.NewInterface(seg, id).ToPtr()))
	}
	e.alive.Store(int32(len(e.promises)))
	return result{content: root.ToPtr(), release: func() { v.empty(msg) }}
}

// structFor is large enough for the fields that the paths name at depth.
func structFor(paths [][]uint16, depth int) capnp.ObjectSize {
	var n uint16
	for _, p := range paths {
		if depth < len(p) {
			n = max(n, p[depth]+1)
		}
	}
	return capnp.ObjectSize{PointerCount: n}
}

// mayKeep says whether c should go out with its results kept for the vat that was answered early: the caller
// then picks them up at the peer.
func (s *session) mayKeep(c *call) bool {
	return c.early != nil && c.early.caller != s && c.early.caller.end.Load() == nil &&
		s.has(transport.FeatureKeptResults) && s.has(transport.FeatureHandoff)
}

// keepResults writes into a Call that the peer is to keep its results for the caller, and has the promises
// resolve to them once the Call has gone. It takes over the first hold on q.
func (s *session) keepResults(call rpc.Call, c *call, q *questionRef) {
	e := c.early
	await := must(transport.NewToAwait(call.Segment()))
	check(e.caller.peer.Encode(must(await.NewRecipient())))
	list := must(await.NewResults(int32(len(e.paths))))
	intros := make([]*introduction, len(e.paths))
	for i, path := range e.paths {
		intros[i] = s.newIntroduction(e.caller)
		intros[i].provide, intros[i].ofCall = q, true
		check(list.At(i).SetNonce(intros[i].Nonce[:]))
		fields := must(list.At(i).NewPath(int32(len(path))))
		for j, f := range path {
			fields.Set(j, f)
		}
	}
	check(call.SendResultsTo().SetThirdParty(await.ToPtr()))
	s.emit(letGo(func() {
		e.mu.Lock()
		e.moved = true
		e.mu.Unlock()
		s.vat.later(func() {
			for i, p := range e.promises {
				q.hold()
				p.resolveTo(pin{road: pipelineRoad{q: q, path: pipelineOps(e.paths[i])}}, intros[i])
			}
			q.drop()
		})
	}))
}
