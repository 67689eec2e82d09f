package vat

import (
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// A forwarding is the sink of a peer's call, or of the tail call that answers it, that went to another vat, or back to the
// peer itself, with its results for the peer: they do not come by here.
//
//	Call (sendResultsTo)            to the vat that answers: thirdParty, or yourself
//	Return (awaitFromThirdParty,    to the peer, at once. What it has pipelined, and what it pipelines until the
//	  or takeFromOtherQuestion)     answer has reached it, goes on by here
//	Finish                          of the peer's: ends our part, and with it the call, unless it was adopted
//
// What the vat that answers cannot deliver, for it cannot reach the peer, or is lost to us, or refuses the call, is ours
// to deliver again: we answer the peer's call anew, with a ThirdPartyAnswer of our own.
type forwarding struct {
	ref   *answerRef // the peer's call
	also  *answerRef // where that had been forwarded to us: the call of the vat that did, for what it pipelines
	to    *session
	nonce nonce // for a third party

	done bool // the peer's call is answered anew; for turns of ref.s
}

var _ sink = (*forwarding)(nil)

// forwardingOf is the sink that c, about to go out on s, gets in place of its own if its results can go elsewhere; nil if
// not. They can if it is a tail call, or, where that is wanted, one that the peer made before it could know where that
// leads. Any other comes this way because the peer cannot go another (a vine, a capability that is proxied); and a no-op is
// answered by whoever is last on this way, to say that what went before it has come there. Results that are kept for a
// third party are awaited here by its Accept.
func (s *session) forwardingOf(c *call) *forwarding {
	if !c.tail && !(c.passes && s.vat.forwards) || c.method.InterfaceID == transport.NoOp_TypeID ||
		!s.has(transport.FeatureCallForwarding) {
		return nil
	}
	f := &forwarding{to: s}
	switch ret := c.ret.(type) {
	case *answerRef:
		f.ref = ret
	case *adoptedCall:
		if f.ref, f.also = ret.passOn(); f.ref == nil {
			return nil // nobody waits for a dial: the results come by here
		}
	default:
		return nil
	}
	if !f.ref.mayAwait || f.ref.early || len(f.ref.kept) > 0 || f.ref.s.end.Load() != nil {
		return nil
	}
	if f.also == nil && f.ref.decided.Swap(true) {
		return nil // given up: the peer is told that, and not who is to answer
	}
	if !f.yourself() {
		f.nonce = s.vat.newNonce()
	}
	return f
}

// yourself: the call goes back to the vat that has made it.
func (f *forwarding) yourself() bool { return f.to == f.ref.s }

func (f *forwarding) key() provisionKey { return provisionKey{f.to.vat.ID(), f.nonce} }

// direct writes where the results are to go.
func (f *forwarding) direct(c rpc.Call) {
	if f.yourself() {
		c.SendResultsTo().SetYourself()
		return
	}
	peer := f.ref.s.peer
	await := must(transport.NewToAwait(c.Segment()))
	check(peer.Encode(must(await.NewRecipient())))
	check(await.SetNonce(f.nonce[:]))
	addresses := f.to.vat.addressesFor(peer)
	list := must(await.NewAddresses(int32(len(addresses))))
	for i, a := range addresses {
		check(list.Set(i, a))
	}
	check(c.SendResultsTo().SetThirdParty(await.ToPtr()))
}

// forwarded implements sink.
func (f *forwarding) forwarded(q *questionRef) {
	if f.also != nil {
		q.hold()
		f.also.s.tellOr(&answerAside{f.also, q}, q.drop)
	}
	if !f.ref.s.post(&answerAway{f, q}) {
		q.drop()
		return
	}
	f.ref.s.wake()
}

// setEarly implements sink. The call is with another vat.
func (f *forwarding) setEarly(r result) { f.to.vat.later(r.free) }

// settle implements sink: the results did not go elsewhere after all.
func (f *forwarding) settle(r result) {
	if f.also != nil {
		mine, theirs := r.split()
		f.also.settle(theirs)
		r = mine
	}
	f.ref.settle(r)
}

// lost: the session on which the call went out has ended.
func (f *forwarding) lost(why error) {
	f.settle(result{err: disconnected("%s forwarded the call to %s: %v", f.to.vat.ID().Short(), f.to.peer.Short(), why)})
}

type (
	// answerAway: the call went out as q, and its results go elsewhere.
	answerAway struct {
		f *forwarding
		q *questionRef
	}
	// answerAside: the call, which was adopted, went out as q, and its results go elsewhere.
	answerAside struct {
		ref *answerRef // that of who had forwarded it to us
		q   *questionRef
	}
	// answerBack: the vat that answers has given the call back. q, which is held, stands for it.
	answerBack struct {
		f *forwarding
		q *questionRef
	}
)

// answerAway returns the peer's call: who answers is said, and what is pipelined follows the call. That is so too where the
// peer has given it up: the answer may have come to it already, and is let go of once it is known what for.
func (s *session) answerAway(m *answerAway) {
	ref, open, finished := m.f.ref, false, false
	s.answers.visit(ref.id, func(a *answer) { open, finished = a.ref == ref && !a.returned, a.finished })
	if open {
		m.q.hold()
	}
	s.answerForwarded(&forwardedAnswer{ref, m.q})
	if !open {
		return
	}
	var feeds []feed
	s.answers.visit(ref.id, func(a *answer) {
		a.away = m.f
		feeds, a.feeds = a.feeds, nil
	})
	msg, r := msgReturn(ref.id)
	if m.f.yourself() {
		r.SetTakeFromOtherQuestion(m.q.id)
	} else {
		await := must(transport.NewToAwait(r.Segment()))
		check(m.f.to.peer.Encode(must(await.NewRecipient())))
		check(await.SetNonce(m.f.nonce[:]))
		check(r.SetAwaitFromThirdParty(await.ToPtr()))
		s.emit(do(func() {
			s.vat.awaitAnswer(m.f.key(), m.f.to.peer, func(q *questionRef) {
				if !s.post(&answerBack{m.f, q}) {
					q.drop()
					return
				}
				s.wake()
			})
		}))
	}
	s.returnMessage(ref.id, msg, r)
	s.emit(letGo(ref.flight.end))
	s.leadAway(feeds, m.q)
	if finished {
		s.emit(letGo(func() { m.q.keep(ref.stop) }))
		s.maybeForgetAnswer(ref.id)
	}
}

// answerAside has what the forwarder pipelines follow a call that goes on once more: its answer, which has returned, holds
// the question for that alone.
func (s *session) answerAside(m *answerAside) {
	ref := m.ref
	m.q.hold()
	ref.aside = true
	left := ref.left
	s.answerForwarded(&forwardedAnswer{ref, m.q})
	var feeds []feed
	if left != nil {
		feeds = left.feeds
	}
	s.answers.visit(ref.id, func(a *answer) {
		if a.ref == ref {
			feeds, a.feeds = a.feeds, nil
		}
	})
	s.emit(do(ref.flight.end))
	s.leadAway(feeds, m.q)
	if left != nil { // the forwarder has finished it
		ref.left, left.feeds = nil, nil
		delete(s.left, ref)
		s.leftAside(ref, left.pipe.on)
	}
}

// leftAside: the forwarder has finished its answer to a call that went on from here.
func (s *session) leftAside(ref *answerRef, q *questionRef) {
	if q != nil {
		s.emit(letGo(func() {
			q.keep(ref.stop) // not before: that would cancel what is pipelined
			q.drop()
		}))
	}
}

// leadAway has the promises for parts of an answer lead to the same parts of q, where the results are: they will not
// come here. It takes over a hold on q.
func (s *session) leadAway(feeds []feed, q *questionRef) {
	s.feeds -= len(feeds)
	s.emit(letGo(func() {
		s.vat.later(func() {
			for _, f := range feeds {
				q.hold()
				f.p.resolveTo(pin{road: pipelineRoad{q: q, path: f.path}}, nil)
				f.client.Release()
			}
			q.drop()
		})
	}))
}

// answerBack answers the peer's call anew, by what the vat that answers has given back.
func (s *session) answerBack(m *answerBack) {
	if !s.isAway(m.f) {
		s.emit(letGo(m.q.drop))
		return
	}
	m.f.done = true
	ref := s.announce(m.f.key())
	s.emit(do(func() { m.q.claim(ref, nil) }))
	s.answerForwarded(&forwardedAnswer{ref, m.q})
}

// answerInstead answers the peer's call anew, with res, which it takes over.
func (s *session) answerInstead(f *forwarding, res result) {
	if f.yourself() || !s.isAway(f) {
		s.emit(letGo(func() { s.vat.later(res.free) }))
		return
	}
	s.emit(letGo(func() { s.vat.stopAwaiting(f.key(), f.to.peer) }))
	f.done = true
	ref := s.announce(f.key())
	s.settleAnswer(ref.id, &res)
}

// isAway says whether the peer still waits for the call of f.
func (s *session) isAway(f *forwarding) bool {
	away := false
	s.answers.visit(f.ref.id, func(a *answer) { away = a.ref == f.ref && a.away == f && !f.done && !a.finished })
	return away
}

// leftAway ends our part in a call that the peer has finished.
func (s *session) leftAway(a *answer) {
	f, q := a.away, a.pipe.on
	s.emit(letGo(func() {
		if !f.yourself() {
			s.vat.stopAwaiting(f.key(), f.to.peer)
		}
		if q != nil {
			q.keep(f.ref.stop) // not before: that would cancel what is pipelined
			q.drop()
		}
	}))
}
