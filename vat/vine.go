package vat

import "slices"

// The vine: where a capability cannot be picked up at its host, its calls go on through the introducer.
//
// An Accept under way is undecided: calls on it are sent behind it, and kept besides. What then becomes of it:
//
//	returned   the calls are the host's: what was kept is let go, and what is pipelined on them follows
//	failed     with an exception, or before it was sent: nothing that was put on it has been delivered, nor will be.
//	           All of it goes on to the vine, in its order: first what was sent and is taken back, then what waits in
//	           the mailbox, then what is kept back at the gate. That is the same session as the road of before the
//	           introduction, so what went there is ahead of it
//	lost       the session with the host ended, or it took too long, and calls had been sent: whether they were
//	           delivered is not known. They fail, and so do those behind them, which must not overtake them
//
// What is pipelined on a call that was sent on an undecided Accept waits for the decision: its road is not known.

// newAcceptRef stands for an Accept of what the vine, which it takes over, leads to as well.
func newAcceptRef(host *session, vine pin) *questionRef {
	q := newWholeRef(host)
	q.whole.vine, q.whole.gate.undecided = &vine, true
	return q
}

// freeVine lets go of the vine once the Accept is over and nobody holds it.
func (q *questionRef) freeVine() {
	w := q.whole
	if w == nil {
		return
	}
	q.mu.Lock()
	vine := w.vine
	done := vine != nil && q.over && q.holds.Load() <= 0
	if done {
		w.vine = nil
	}
	q.mu.Unlock()
	if done {
		q.s.vat.freeLater(vine)
	}
}

// divert decides where what was put on q, which has failed for why, goes instead: to the vine, or nowhere if the
// introducer is lost too. It holds q, for the vine, until settleOn; q is not over yet.
func (q *questionRef) divert(why error) {
	q.hold()
	v := q.s.vat
	if by, ok := q.whole.vine.road.(*importRef); ok && by.s.end.Load() != nil {
		q.whole.instead = brokenRoad{disconnected("%v; and the way through %s is lost: %v", why, by.s.peer.Short(), by.s.why())}
		v.handedOff(func(h *Handoffs) { h.Broken++ })
		return
	}
	q.whole.instead = q.whole.vine.road
	v.handedOff(func(h *Handoffs) { h.Vine++ })
	v.log.Warn("handoff failed: calls go on through the introducer", "host", q.s.peer.Short(), "err", why)
}

// fail is divert where calls may have been delivered.
func (q *questionRef) fail(why error) {
	q.hold()
	q.whole.instead = brokenRoad{why}
	q.s.vat.handedOff(func(h *Handoffs) { h.Broken++ })
}

// settleOn has at and all that was pinned to the Accept go where divert has said. Nothing of q may be in the mailbox of
// its session any more.
func (q *questionRef) settleOn(at *reference) {
	defer q.drop()
	q.whole.gate.cutShort(q.whole.instead)
	if broken, ok := q.whole.instead.(brokenRoad); ok {
		at.breakWith(broken.err)
		return
	}
	at.settleOn(q.whole.vine.again().named(q.s.vat))
}

// acceptFailed: nothing that was put on the Accept q, for at, has been delivered. It is an effect.
func (s *session) acceptFailed(q *questionRef, at *reference) {
	q.whole.gate.keepBack()
	at.keepBack()
	settle := func() { q.settleOn(at) }
	switch {
	case s.closing:
		s.last = append(s.last, settle) // behind what is left in the mailbox
	case !s.post(&echo{settle}):
		settle()
	default:
		s.wake()
	}
}

// unsent: the Accept never went out.
func (a *askAccept) unsent(why error) {
	a.q.divert(a.q.s.acceptError(why))
	a.q.end(why)
}

// acceptRefused: the Accept x returned with an exception. What was sent on it is taken back and goes first.
func (s *session) acceptRefused(x question, why error) {
	x.ref.divert(s.acceptError(why))
	for _, q := range x.ref.whole.sent {
		if c := s.takeBack(q); c != nil {
			s.deliver(x.ref.whole.instead, c)
		}
	}
	s.emit(letGo(func() { s.acceptFailed(x.ref, x.at) }))
}

// acceptReturned: what was sent on the Accept x is the host's.
func (s *session) acceptReturned(x *question) {
	for _, q := range x.ref.whole.sent {
		s.questions.visit(q.id, func(e *question) {
			if c := e.unsure; e.ref == q && c != nil && !e.finished {
				e.unsure = nil
				s.emit((*callSure)(c))
			}
		})
	}
	s.emit((*accepted)(x.ref))
}

// callSure is a call that is the host's, with the Accept that it was sent on.
type callSure call

func (e *callSure) apply(*session) {
	c := (*call)(e)
	q := c.sent
	c.releaseLater()
	c.ret.forwarded(q)
}

func (e *callSure) discard(s *session, _ error) { e.apply(s) }

// accepted is an Accept whose calls are the host's.
type accepted questionRef

func (q *accepted) apply(s *session) {
	q.whole.gate.decide()
	s.vat.handedOff(func(h *Handoffs) { h.Accepted++ })
}

func (q *accepted) discard(s *session, _ error) { q.apply(s) }

// acceptLost: the session with the host ends, and the Accept x was sent and has not returned.
func (s *session) acceptLost(x *question, why error) {
	switch q := x.ref; {
	case q.whole.instead != nil: // see insteadOf
	case q.whole.used:
		q.fail(s.acceptError(why))
	default:
		q.divert(s.acceptError(why))
	}
	s.acceptFailed(x.ref, x.at)
}

// acceptOverdue is the news that the Accept q has not returned by its deadline, which is the limit of that name.
type acceptOverdue struct {
	q     *questionRef
	limit string
	why   error
}

// acceptOverdue gives up an Accept that has not returned: it goes on by the vine if nothing was sent on it.
func (s *session) acceptOverdue(m *acceptOverdue) {
	var x question
	s.questions.visit(m.q.id, func(e *question) {
		if e.ref == m.q && !e.returned && !e.finished {
			x = e.giveUp()
		}
	})
	if x.ref == nil {
		return
	}
	why := s.acceptError(m.why)
	s.vat.exceeded(m.limit)
	if !x.ref.whole.used {
		x.ref.divert(why)
	} else {
		x.ref.fail(why)
	}
	for _, q := range x.ref.whole.sent {
		if c := s.takeBack(q); c != nil {
			s.emit(letGo(func() { c.reject(why) }))
		}
	}
	s.givenUp(x, nil)
	s.emit(letGo(func() {
		s.acceptFailed(x.ref, x.at)
		x.ref.end(why) // what it keeps goes now, whether or not the host ever returns it
	}))
}

// insteadOf is where p goes that was put on q and found its session ended; nil if nowhere.
func (s *session) insteadOf(q *questionRef, why error) road {
	w := q.whole
	if w == nil {
		return nil
	}
	if w.instead == nil && w.vine != nil && q.asked && q.gone == nil {
		s.questions.visit(q.id, func(x *question) {
			if !x.returned && !x.finished && !w.used {
				q.divert(s.acceptError(why))
			}
		})
	}
	return w.instead
}

// undecided says whether q is an Accept that has not returned.
func (s *session) undecided(q *questionRef) (yes bool) {
	if q != nil && q.whole != nil && q.whole.vine != nil {
		s.questions.visit(q.id, func(x *question) { yes = x.accept && !x.returned })
	}
	return yes
}

// takeBack gives up a call that was sent on an Accept, and returns it for another road; nil if it is over.
func (s *session) takeBack(q *questionRef) (c *call) {
	var was question
	s.questions.visit(q.id, func(e *question) {
		if e.ref != q || e.unsure == nil || e.returned || e.finished {
			return
		}
		c, e.unsure, e.to = e.unsure, nil, nil
		was = e.giveUp()
	})
	if c != nil {
		q.unwatchCaller()
	}
	s.givenUp(was, nil)
	return c
}

// sure lets go of what was kept of a call, which is over while its Accept is undecided.
func (s *session) sure(x question) {
	if x.unsure == nil {
		return
	}
	s.questions.visit(x.ref.id, func(e *question) { e.unsure = nil })
	if x.on != nil {
		w := x.on.whole
		w.sent = slices.DeleteFunc(w.sent, func(q *questionRef) bool { return q == x.ref })
	}
	s.emit(letGo(func() {
		x.unsure.releaseLater()
		x.ref.drop()
	}))
}

// Handoffs counts what became of the capabilities that were handed to a vat and that it tried to pick up.
type Handoffs struct {
	Accepted uint64 // their calls go to the host
	Vine     uint64 // the host could not be reached, or refused: their calls go on through the introducer
	Broken   uint64 // neither: their calls fail
}

// Handoffs says what became of the handoffs to v so far.
func (v *Vat) Handoffs() Handoffs {
	v.countMu.Lock()
	defer v.countMu.Unlock()
	return v.handoffs
}

func (v *Vat) handedOff(count func(*Handoffs)) {
	v.countMu.Lock()
	defer v.countMu.Unlock()
	count(&v.handoffs)
}
