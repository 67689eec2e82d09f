package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// An effect is what a turn wants done once it has succeeded. Those that every call has are of objects that the call
// has anyway, and so need no memory of their own.
type effect interface{ apply(s *session) }

// sendFrame sends a message, which it owns, with the capabilities in its table, and recycles it.
type sendFrame capnp.Message

func (e *sendFrame) apply(s *session) {
	msg := (*capnp.Message)(e)
	if s.wire.send(must(rpc.ReadRootMessage(msg))) {
		s.vat.resetLater(msg)
	} else {
		s.vat.recycleLater(msg)
	}
}

// sendShared is sendFrame for a message of which the tables keep a part.
type sendShared capnp.Message

func (e *sendShared) apply(s *session) {
	msg := (*capnp.Message)(e)
	s.wire.send(must(rpc.ReadRootMessage(msg)))
	s.vat.resetLater(msg)
}

// readThrough recycles a message that nobody looks at any more.
type readThrough capnp.Message

func (e *readThrough) apply(s *session) { s.vat.recycleLater((*capnp.Message)(e)) }

// putParcel puts a parcel on the road of somebody else.
type putParcel struct{ delivery }

func (e putParcel) apply(*session) {
	e.to.put(e.parcel)
	e.to.wake()
}

// putCall is putParcel for a call, which knows where.
type putCall call

func (e *putCall) apply(*session) {
	to := e.to
	e.to = nil
	to.put((*call)(e))
	to.wake()
}

// callSent tells of a call that has gone out on a wire.
type callSent call

func (e *callSent) apply(s *session) {
	c := (*call)(e)
	q, unsure, kept := c.sent.q, c.sent.unsure, c.sent.kept
	if !unsure {
		c.releaseLater()
	}
	if !unsure && !kept {
		c.ret.forwarded(q)
	}
	if !kept {
		s.watchCaller(c.ctx, q)
	}
}

// settleCall hands a result to whoever waits for it.
type settleCall struct {
	to  sink
	res result
}

func (e settleCall) apply(*session) { e.to.settle(e.res) }

// handResult is settleCall for the result of a question.
type handResult questionRef

func (e *handResult) apply(*session) {
	to, res := e.to, e.res
	e.to, e.res = nil, result{}
	to.settle(res)
}

// endQuestion tells that a question is over: see forget.
type endQuestion questionRef

func (e *endQuestion) apply(*session) { (*questionRef)(e).end(e.gone) }

// stopCall is for a call of the peer's that has its result.
type stopCall answerRef

func (e *stopCall) apply(*session) {
	ref := (*answerRef)(e)
	ref.stop()
	ref.flight.end()
}

// do is any other effect: it enqueues at most.
type do func()

func (e do) apply(*session) { e() }

func (s *session) emit(e effect)      { s.out = append(s.out, e) }
func (s *session) send(m rpc.Message) { s.emit((*sendFrame)(m.Message())) }

func (s *session) deliver(to road, p parcel) {
	if c, ok := p.(*call); ok {
		c.to = to
		s.emit((*putCall)(c))
		return
	}
	s.emit(putParcel{delivery{to, p}})
}

func (s *session) reject(p parcel, err error) { s.emit(do(func() { p.reject(err) })) }

// letGo is an effect that lets go of what no table has any more. It is carried out also where the turn fails, for else
// nobody would: a peer could have an object of ours live for ever by breaking the protocol.
type letGo func()

func (e letGo) apply(*session) { e() }

// freeLater has pins released off the turn. No table has them any more.
func (s *session) freeLater(pins ...pin) {
	if len(pins) == 0 {
		return
	}
	s.emit(letGo(func() {
		for i := range pins {
			s.vat.freeLater(&pins[i])
		}
	}))
}

// freeResult has a result freed that nobody looks at once the effects of this turn so far have been carried out.
func (s *session) freeResult(r result) {
	switch {
	case r.release != nil:
		s.emit(letGo(func() { s.vat.later(r.free) }))
	case r.msg != nil:
		s.emit((*readThrough)(r.msg))
	}
}
