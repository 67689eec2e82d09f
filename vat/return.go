package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

// onReturn obeys "Message type sent from callee to caller indicating that the call has completed".
func (s *session) onReturn(r rpc.Return) error {
	id := r.AnswerId()
	var params []uint32
	var pipelined [][]capnp.PipelineOp
	var q *questionRef
	kept, taking := false, false
	if !s.questions.visit(id, func(x *question) {
		params, pipelined, kept, q, taking = x.params, x.pipelined, x.kept, x.ref, x.taking
		if x.finished {
			pipelined = nil // nobody waits: the results are given back as they came, without an embargo
		}
		x.noFinish = r.NoFinishNeeded()
	}) {
		return fault("Return for question %d, which was not asked", id)
	}
	if taking {
		return fault("second Return for question %d", id)
	}
	if r.ReleaseParamCaps() {
		for _, e := range params {
			if err := s.releaseExport(e, 1); err != nil {
				return err
			}
		}
	}
	switch r.Which() {
	case rpc.Return_Which_results:
		return decoded(func(p rpc.Payload) error {
			res, err := s.readResult(p, q, pipelined)
			if err != nil {
				return err
			}
			return s.returned(id, res, false)
		}, r.Results)
	case rpc.Return_Which_exception:
		return decoded(func(e rpc.Exception) error {
			return s.returned(id, result{err: exception(e)}, false)
		}, r.Exception)
	case rpc.Return_Which_takeFromOtherQuestion:
		return s.takeFrom(id, q, r.TakeFromOtherQuestion())
	case rpc.Return_Which_awaitFromThirdParty:
		return s.onAwait(id, q, r)
	case rpc.Return_Which_canceled:
		return s.returned(id, result{err: errCanceled}, false)
	case rpc.Return_Which_resultsSentElsewhere:
		if !kept {
			return fault("Return of question %d: results sent elsewhere, but nobody asked for that", id)
		}
		return s.returned(id, result{}, true)
	}
	return fault("Return of question %d with %v, which was not asked for", id, r.Which())
}

// returned takes the result of question id.
func (s *session) returned(id uint32, res result, elsewhere bool) error {
	x := s.questions.get(id)
	if x == nil || x.returned {
		return fault("second Return for question %d", id)
	}
	x.returned, x.kept, x.res = true, elsewhere, res
	x.ref.unwatchCaller()
	if x.unsure != nil {
		s.sure(*x)
	}
	switch {
	case x.on == nil:
	case elsewhere:
		s.pipelinedLeft(x.on)
	default:
		s.pipelinedReturned(x.on)
	}
	if e, ok := x.to.(*earlyReturn); ok && elsewhere {
		s.emit(letGo(e.ref.flight.end)) // nothing will come of it here
	}
	if x.finished {
		// Nobody waits: what came is given back.
		s.freeResult(res)
		s.forget(id, x.ref)
		if x.to != nil {
			s.emit(settleCall{x.to, result{err: errCanceled}})
		}
		return nil
	}
	if !elsewhere {
		if x.at != nil && res.err == nil {
			res = s.asWhole(res)
			x.res = res
		}
		x.pins = res.pins(s.vat)
		s.hand(x, res)
	}
	s.maybeFinish(id)
	s.unnumber(id)
	return nil
}

// unnumber gives an id that the peer has chosen back to it where it has cleaned up ("its answer table entry has already
// been cleaned up"): who is to get the result may not be known yet, and the peer cannot know that.
func (s *session) unnumber(id uint32) {
	x := s.questions.get(id)
	if x == nil || !x.noFinish || !isAnnounced(id) {
		return
	}
	entry := *x
	s.questions.remove(id)
	entry.ref.id, entry.ref.entry = s.questions.addNew(&entry), &entry
}

// hand gives a result to whoever asked.
func (s *session) hand(x *question, res result) {
	switch {
	case x.unclaimed: // kept in x.res
	case x.to != nil:
		s.emit((*handResult)(x.ref))
	case x.accept && res.err != nil:
		s.acceptRefused(*x, res.err)
	case x.at != nil:
		if x.accept {
			s.acceptReturned(x)
		}
		s.emit((*settleWhole)(x.ref))
	default:
		// A Provide: between our own vats its Return says that it was picked up. An exception means that it
		// never will be; the recipient learns that from its Accept.
		s.freeResult(res)
	}
}

// settleWhole is settleReference for what came of a question.
type settleWhole questionRef

func (q *settleWhole) apply(s *session) {
	e := q.entry
	s.settleReference(e.ref, e.at, e.res, e.pins)
}

func (q *settleWhole) discard(s *session, _ error) { q.apply(s) }

// settleReference settles the reference of a Bootstrap or an Accept on what came, with pins as from res.pins. Calls on
// it may wait in our mailbox: where the capability is not on this session's road, new ones are kept back until those
// are past, on the reference and on what was pinned to it.
func (s *session) settleReference(ref *questionRef, at *reference, res result, pins []pin) {
	if res.err != nil {
		at.breakWith(res.err)
		return
	}
	if i, ok := res.cap.leadsTo(); ok && i.s == s || s.vat.breaks(hook.Marker) {
		at.settleOn(*res.cap)
		return
	}
	ref.whole.gate.keepBack()
	at.keepBack()
	s.tell(&echo{func() {
		ref.whole.gate.cutShort(res.at(nil, pins))
		c := res.cap.client()
		at.settle(c)
		s.vat.later(c.Release)
		s.vat.freeLater(res.cap)
	}})
}

// asWhole is res, of a Bootstrap or an Accept and without an error, as the one capability that it is. Nobody looks at its
// content any more.
func (s *session) asWhole(res result) result {
	p := s.vat.pinClient(res.content.Interface().Client())
	s.freeResult(res)
	return result{cap: &p}
}

// pipelinedLeft is pipelinedReturned for one that was given up, or is answered elsewhere: it may not have been delivered.
func (s *session) pipelinedLeft(q *questionRef) {
	if q.gone == nil {
		s.questions.visit(q.id, func(x *question) { x.astray = true })
	}
	s.pipelinedReturned(q)
}

// pipelinedReturned notes that one that was pipelined on q is over.
func (s *session) pipelinedReturned(q *questionRef) {
	var answered []*noOp
	astray := false
	if q.gone == nil && s.questions.visit(q.id, func(x *question) {
		if x.inFlight--; x.inFlight == 0 {
			answered, x.answered, astray = x.answered, nil, x.astray
		}
	}) {
		for _, n := range answered {
			s.emit(letGo(func() { n.without(astray) }))
		}
		s.maybeFinish(q.id)
	}
}
