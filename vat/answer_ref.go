package vat

import "sync/atomic"

// An answerRef stands for an answer outside the turns of its session: the sink of a call that the peer made.
type answerRef struct {
	s    *session
	kept []keptResult // where the results go, if not to the peer
	left *answer      // the answer is over, and its call is not: its pipe and feeds; for turns of s
	// waitsOn is the answer in whose queue the call is; for turns of s.
	waitsOn  *answerRef
	adoption *adoptedCall // its call is answered to a third party, or this is that answer

	id       uint32
	early    bool // the answer has returned already: see early.go
	mayAwait bool // the peer may be told that a third party answers
	aside    bool // one does, and has gone on from here: see answerAside; for turns of s

	first      atomic.Bool // settlement is taken
	decided    atomic.Bool // its results go elsewhere, or the caller gave up while it waited: what was first counts
	settlement settledAnswer
	flight     flight
	caller     callerWatch
	ctx        *callContext // of the call; nil: there is none
	unexpire   func()       // of an Accept: stops its deadline
}

var _ sink = (*answerRef)(nil)

// answer is that of c, where a peer has made it; nil: none.
func (c *call) answer() *answerRef {
	switch ret := c.ret.(type) {
	case *answerRef:
		return ret
	case *adoptedCall:
		return ret.from
	}
	return nil
}

type (
	forwardedAnswer struct {
		ref *answerRef
		q   *questionRef
	}
	settledAnswer struct {
		ref    *answerRef
		res    result
		echoed bool // what followed the call onto another wire has been passed on
	}
)

// forwarded implements sink.
func (a *answerRef) forwarded(q *questionRef) {
	if !a.s.post(&forwardedAnswer{a, q}) {
		a.leave(q)
		return
	}
	a.s.wake()
}

// answerForwarded: the call went out on a wire, and what is pipelined on it can follow.
func (s *session) answerForwarded(m *forwardedAnswer) {
	var ds []delivery
	held := false
	s.answers.visit(m.ref.id, func(a *answer) {
		if a.ref != m.ref {
			return
		}
		ds = a.pipe.forwarded(m.q)
		if held = !a.finished; !held {
			a.pipe.on = nil // the peer cares for no more than what it has pipelined
		}
	})
	left := m.ref.left
	if left != nil {
		ds, held = left.pipe.forwarded(m.q), true
	}
	s.handOn(ds)
	switch {
	case left != nil:
		s.leftLessPipelined(m.ref) // all may have left before this came
	case !held:
		s.emit(letGo(m.q.drop))
	}
}

// settle implements sink.
func (a *answerRef) settle(r result) { a.post(a.settled(r)) }

// settleAndRun is settle for who may run turns of the session.
func (a *answerRef) settleAndRun(r result) {
	if a.s.post(a.settled(r)) {
		a.s.run()
		return
	}
	a.orphaned(r)
}

// settled is the message for settle. The first lies in the answerRef, and mostly there is no other.
func (a *answerRef) settled(r result) *settledAnswer {
	m := &a.settlement
	if a.first.Swap(true) {
		m = new(settledAnswer)
	}
	m.ref, m.res = a, r
	return m
}

func (a *answerRef) post(m *settledAnswer) {
	if a.s.post(m) {
		a.s.wake()
		return
	}
	a.orphaned(m.res)
}

// orphaned takes results when the session that asked is gone: those that are kept for a third party stay.
func (a *answerRef) orphaned(r result) {
	pins := r.pins(a.s.vat)
	for _, k := range a.kept {
		k.offer(r, pins)
	}
	a.stop()
	a.flight.end()
	for i := range pins {
		a.s.vat.freeLater(&pins[i])
	}
	a.s.vat.freeResult(r)
}

// stop ends the context of the call, which is over.
func (a *answerRef) stop() {
	a.caller.end()
	a.giveUp()
}

// giveUp ends the context of the call, which is answered then if it waits.
func (a *answerRef) giveUp() {
	if on := a.waitsOn; on != nil {
		a.waitsOn = nil
		defer a.s.tell(&lessPipelined{on})
	}
	if a.ctx != nil {
		a.ctx.cancel()
	}
	if a.unexpire != nil {
		a.unexpire()
	}
}
