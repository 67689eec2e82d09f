package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// An effect is what a turn wants done once it has succeeded. Those that every call has are of objects that the call
// has anyway, and so need no memory of their own.
//
// Where the turn fails, each is discarded instead: nothing is sent, and nothing is begun; but the tables have given away
// already what it was to deal with, so whoever waits for that is told, and what nobody has is let go of. Otherwise a peer
// could have an object of ours live for ever by breaking the protocol, and a mistake of ours could leave a caller waiting.
type effect interface {
	apply(s *session)
	discard(s *session, why error)
}

// sendFrame sends a message, which it owns, with the capabilities in its table, and recycles it.
type sendFrame capnp.Message

func (e *sendFrame) apply(s *session) {
	msg := (*capnp.Message)(e)
	if s.wire.send(msg) {
		s.vat.resetLater(msg)
	} else {
		s.vat.recycleLater(msg)
	}
}

func (e *sendFrame) discard(s *session, _ error) { s.vat.resetLater((*capnp.Message)(e)) }

// sendShared is sendFrame for a message of which the tables keep a part.
type sendShared capnp.Message

func (e *sendShared) apply(s *session) {
	msg := (*capnp.Message)(e)
	s.wire.send(msg)
	s.vat.resetLater(msg)
}

func (e *sendShared) discard(s *session, _ error) { s.vat.resetLater((*capnp.Message)(e)) }

// readThrough recycles a message that nobody looks at any more.
type readThrough capnp.Message

func (e *readThrough) apply(s *session) { s.vat.recycleLater((*capnp.Message)(e)) }

func (e *readThrough) discard(*session, error) {}

// putParcel puts a parcel on the road of somebody else.
type putParcel struct{ delivery }

func (e putParcel) apply(*session) {
	e.to.put(e.parcel)
	e.to.wake()
}

func (e putParcel) discard(_ *session, why error) { e.reject(why) }

// putCall is putParcel for a call, which knows where.
type putCall call

func (e *putCall) apply(*session) {
	to := e.to
	e.to = nil
	to.put((*call)(e))
	to.wake()
}

func (e *putCall) discard(_ *session, why error) { (*call)(e).reject(why) }

// callSent tells of a call that has gone out on a wire.
type callSent call

func (e *callSent) apply(s *session) {
	c := (*call)(e)
	q, unsure, kept := c.sent, c.sentAs.unsure, c.sentAs.kept
	if !unsure {
		c.releaseLater()
	}
	if !unsure && !kept {
		c.ret.forwarded(q)
	}
	if !kept {
		q.watchCaller(c.ctx)
	}
}

// discard leaves the caller to the end of the session: the question is in its table.
func (e *callSent) discard(*session, error) {
	if c := (*call)(e); !c.sentAs.unsure {
		c.releaseLater()
	}
}

// settleCall hands a result to whoever waits for it.
type settleCall struct {
	to  sink
	res result
}

func (e settleCall) apply(*session) { e.to.settle(e.res) }

func (e settleCall) discard(s *session, _ error) { e.apply(s) }

// handResult is settleCall for the result of a question, which is in its entry.
type handResult questionRef

func (e *handResult) apply(*session) { e.entry.to.settle(e.entry.res) }

func (e *handResult) discard(s *session, why error) {
	s.vat.later(e.entry.res.free)
	e.entry.to.settle(result{err: why})
}

// endQuestion tells that a question is over: see forget.
type endQuestion questionRef

func (e *endQuestion) apply(*session) { (*questionRef)(e).end(e.gone) }

func (e *endQuestion) discard(s *session, _ error) { e.apply(s) }

// stopCall is for a call of the peer's that has its result.
type stopCall answerRef

func (e *stopCall) apply(*session) {
	ref := (*answerRef)(e)
	ref.stop()
	ref.flight.end()
}

func (e *stopCall) discard(s *session, _ error) { e.apply(s) }

// do is any other effect that is left undone where the turn fails. It enqueues at most.
type do func()

func (e do) apply(*session)          { e() }
func (e do) discard(*session, error) {}

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

func (s *session) reject(p parcel, err error) { s.emit(letGo(func() { p.reject(err) })) }

// letGo is do for what no table has any more, and which is let go of, or handed to whoever waits, also where the turn
// fails: for else nobody would.
type letGo func()

func (e letGo) apply(*session)          { e() }
func (e letGo) discard(*session, error) { e() }

// freePin lets go of a pin that no table has any more.
type freePin pin

func (e *freePin) apply(s *session) {
	left, more := pin(*e).freeHere()
	if *e = freePin(left); more {
		s.vat.worker.DoTask(e)
	}
}

// Do implements actors.Task, for what is left of it.
func (e *freePin) Do() {
	p := pin(*e)
	*e = freePin{}
	p.free()
}

func (e *freePin) discard(s *session, _ error) { e.apply(s) }

// freePins is how many of them are allocated at a time.
const freePins = 16

// freeLater has pins released once the effects of this turn so far have been carried out. No table has them any more.
func (s *session) freeLater(pins ...pin) {
	for _, p := range pins {
		if len(s.toFree) == 0 {
			s.toFree = make([]freePin, freePins)
		}
		e := &s.toFree[0]
		s.toFree = s.toFree[1:]
		*e = freePin(p)
		s.emit(e)
	}
}

// freeResult has a result freed that nobody looks at once the effects of this turn so far have been carried out.
func (s *session) freeResult(r result) {
	switch {
	case r.cap != nil:
		s.freeLater(*r.cap)
	case r.release != nil && r.msg == nil:
		release := r.release
		s.emit(letGo(func() { s.vat.later(release) }))
	case r.release != nil:
		s.emit(letGo(func() { s.vat.later(r.free) }))
	case r.msg != nil:
		s.emit((*readThrough)(r.msg))
	}
}
