package vat

import "context"

// An answerRef stands for an answer outside the turns of its session: the sink of a call that the peer made.
type answerRef struct {
	s     *session
	id    uint32
	kept  []keptResult // where the results go, if not to the peer
	early bool         // the answer has returned already: see early.go
	left  *pipeline    // the answer is over, and its call is not; for turns of s

	flight   flight
	cancel   context.CancelFunc // of the call's context; nil: there is none
	unexpire func()             // of an Accept: stops its deadline
}

var _ sink = (*answerRef)(nil)

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
		q.drop()
		return
	}
	a.s.wake()
}

// settle implements sink.
func (a *answerRef) settle(r result) { a.post(&settledAnswer{ref: a, res: r}) }

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
	a.s.vat.later(func() {
		for _, p := range pins {
			p.free()
		}
		r.free()
	})
}

// stop ends the context of the call.
func (a *answerRef) stop() {
	if a.cancel != nil {
		a.cancel()
	}
	if a.unexpire != nil {
		a.unexpire()
	}
}
