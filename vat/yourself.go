package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// A call that we made may come back to us: the peer's object makes a tail call to one of ours. Then the peer asks
// us to keep the results (Call.sendResultsTo.yourself), and returns our call with "take from other question":
// the results of that one. We ask for it where a method of ours makes a tail call back to the caller: see call_forward.go.

// takeFrom obeys Return.takeFromOtherQuestion: "the results of that other call should be used as the results
// here. takeFromOtherQuestion can only used once per question." Where nobody waits any more, the Return is the end of the
// question, whatever becomes of the other call: an id that the peer has chosen is its own again.
func (s *session) takeFrom(id uint32, q *questionRef, other uint32) error {
	known, settled, given := false, false, false
	var res result
	s.questions.visit(id, func(x *question) { given = x.finished })
	var pins []pin
	s.answers.visit(other, func(a *answer) {
		if known = a.yourself && a.taker == nil; !known {
			return
		}
		a.taker = q
		if settled = a.pipe.res != nil && !given; settled {
			res, pins = a.share(), a.pipe.pins
		}
	})
	if !known {
		return fault("Return of question %d with the results of call %d, which are not kept or were taken", id, other)
	}
	if given {
		return s.returned(id, result{err: errCanceled}, false)
	}
	s.questions.visit(id, func(x *question) { x.taking = true })
	if settled {
		return s.take(q, res, pins)
	}
	return nil
}

// share makes the results of the answer those of a question too: they are freed when both are done with them.
func (a *answer) share() result {
	mine, theirs := a.pipe.res.split()
	a.pipe.res = &mine
	return theirs
}

// take gives a question the results that it was told to take, whose capabilities are pins. What is pipelined on it may still be under way to
// the peer and back, so the capabilities in question come behind an embargo.
func (s *session) take(q *questionRef, res result, pins []pin) error {
	if q.gone != nil {
		s.emit(letGo(func() { s.vat.later(res.free) }))
		return nil
	}
	var pipelined [][]capnp.PipelineOp
	s.questions.visit(q.id, func(x *question) {
		x.taking = false
		pipelined = x.pipelined
	})
	if res.err == nil && res.content.Message() != nil {
		table := res.content.Message().CapTable()
		for i, path := range pathsTo(res.content, pipelined) {
			if i < table.Len() {
				old := table.At(i)
				table.Set(capnp.CapabilityID(i), s.embargoResult(pins[i].again(), q, path))
				s.emit(letGo(func() { s.vat.later(old.Release) }))
			}
		}
	}
	return s.returned(q.id, res, false)
}

// pathsTo is, for each capability of content that something was pipelined on, one path to it.
func pathsTo(content capnp.Ptr, pipelined [][]capnp.PipelineOp) map[int][]capnp.PipelineOp {
	if len(pipelined) == 0 {
		return nil
	}
	paths := map[int][]capnp.PipelineOp{}
	for _, path := range pipelined {
		at, err := capnp.Transform(content, path)
		if i := at.Interface(); err == nil && i.IsValid() {
			if _, ok := paths[int(i.Capability())]; !ok {
				paths[int(i.Capability())] = append([]capnp.PipelineOp{}, path...)
			}
		}
	}
	return paths
}

// returnElsewhere is the Return of a call whose results we keep for ourselves.
func (s *session) returnElsewhere(id uint32) {
	m, r := msgReturn(id)
	r.SetResultsSentElsewhere()
	s.returnMessage(id, m, r)
}

func wantsKept(c rpc.Call) bool {
	return c.SendResultsTo().Which() == rpc.Call_sendResultsTo_Which_yourself
}
