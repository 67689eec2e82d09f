package vat

import (
	"math"
	"time"
)

// What of a handoff waits for somebody else has a deadline, and its timers are here; a timer that fires enqueues at most:
//
//	an Accept that is parked              Limits.Handoff, at the host
//	results that nobody picks up          Limits.Kept, at the host, from when they are there
//	an Accept that has not returned       Limits.Dial and Limits.Handoff together, at the recipient, so that the host's
//	                                      word comes first
//	an Accept of a call's results         the same from the last sign of life of the host: that is a call, and takes the
//	                                      time it takes; Limits.Results in all
//
// There is none for a provision that nobody has picked up, which lives as long as its Provide; and none at the host for
// results whose call still runs. LIMITS.md has all that waits, on whatever road.

type timer = time.Timer

const never = time.Duration(math.MaxInt64)

// expire fails the Accept of to if it still waits at its deadline. It returns what stops it.
func (v *Vat) expire(p *provisionRef, to accepter) (unexpire func()) {
	var timer *time.Timer
	timer = time.AfterFunc(never, func() {
		if p.overdue(to) {
			timer.Reset(v.limits.Handoff)
		}
	})
	timer.Reset(v.limits.Handoff) // only now: it reads timer
	return func() { timer.Stop() }
}

// overdue fails the Accept of to, or says that it is to be asked again.
func (p *provisionRef) overdue(to accepter) (again bool) {
	p.visit(func(x *provision) []outcome {
		why := ""
		if why, again = x.overdue(to); why == "" {
			return nil
		}
		p.vat.exceeded("Handoff")
		x.leave(to)
		return []outcome{{to, result{err: disconnected("%s within %v: Limits.Handoff", why, p.vat.limits.Handoff)}}}
	})
	return again
}

// keep ends the provision of results that are there, unless they are picked up in time. It is called in a visit.
func (p *provisionRef) keep() {
	p.expiry = time.AfterFunc(p.vat.limits.Kept, func() {
		p.visit(func(x *provision) []outcome {
			if x.accepted || x.over != nil {
				return nil
			}
			p.vat.exceeded("Kept")
			return x.end(disconnected("the results were not picked up within %v: Limits.Kept", p.vat.limits.Kept))
		})
	})
}

// expireAccept has the Accept q fail if it does not return in time.
func (v *Vat) expireAccept(q *questionRef) {
	after := v.limits.Dial + v.limits.Handoff
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return
	}
	q.whole.deadline = time.AfterFunc(after, func() {
		q.s.tell(&acceptOverdue{q, "Handoff", disconnected("no answer within %v: Limits.Dial and Limits.Handoff", after)})
	})
}

// resultsAwaited is the news that the Accept q, of the results of a call, has waited for a while: its host has to show
// that it lives.
type resultsAwaited struct {
	q     *questionRef
	heard uint64 // how many messages had come from the host when the while began
	asked bool   // for a sign of life
	timer *time.Timer
}

// expireResults has the Accept q fail if its host gives no sign of life for too long, or does not return it for very long.
func (v *Vat) expireResults(q *questionRef, heard uint64) {
	m := &resultsAwaited{q: q, heard: heard}
	m.timer = time.AfterFunc(never, func() { q.s.tell(m) })
	m.timer.Reset(v.limits.Handoff) // only now: it reads timer
	last := time.AfterFunc(v.limits.Results, func() {
		q.s.tell(&acceptOverdue{q, "Results", disconnected("the call has not ended within %v: Limits.Results", v.limits.Results)})
	})
	q.keep(func() {
		m.timer.Stop()
		last.Stop()
	})
}

// awaitResults asks a host that has been silent for a sign of life, and gives up the Accept of one that has been asked.
func (a *sessionActor) awaitResults(m *resultsAwaited) {
	s := a.s
	limits := &s.vat.limits
	switch {
	case m.q.isOver():
	case s.heard != m.heard || s.hello.Load() == nil: // dialing has a deadline of its own
		m.heard, m.asked = s.heard, false
		m.timer.Reset(limits.Handoff)
	case !m.asked:
		m.asked = true
		m.timer.Reset(limits.Dial)
		a.askForSign()
	default:
		why := disconnected("no sign of life within %v: Limits.Dial and Limits.Handoff", limits.Dial+limits.Handoff)
		s.tell(&acceptOverdue{m.q, "Handoff", why})
	}
}
