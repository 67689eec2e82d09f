package vat

import (
	"sync/atomic"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

// An embargo holds back calls on a promise that turned out to resolve to us, until a Disembargo
// (senderLoopback) has gone to the peer and come back (receiverLoopback), behind all calls that went that way.
//
// States: standing (calls wait in queue); lifted (calls go on to the capability: the reference is about to
// take the short cut).
type embargo struct {
	queue  []parcel
	lifted bool
	road   *embargoRef
	ref    *reference
}

// An embargoRef is the road into an embargo, and cut short when that is gone. It keeps what is behind it as long
// as anybody holds it, the embargo included.
type embargoRef struct {
	s     *session
	id    uint32
	to    pin // what the promise resolved to
	gate  gate
	holds atomic.Int32
}

var _ road = (*embargoRef)(nil)
var _ holder = (*embargoRef)(nil)

func (e *embargoRef) put(p parcel) {
	e.gate.put(p, func(p parcel) error { return e.s.postOr(&toEmbargo{e, p}) })
}

func (e *embargoRef) wake() { e.onward().wake() }
func (e *embargoRef) run()  { e.onward().run() }
func (e *embargoRef) hold() { e.holds.Add(1) }
func (e *embargoRef) drop() {
	if e.holds.Add(-1) == 0 {
		e.s.vat.freeLater(&e.to)
	}
}

// onward is whoever runs what was put.
func (e *embargoRef) onward() interface {
	wake()
	run()
} {
	if to := e.gate.short(); to != nil {
		return to
	}
	return e.s
}

type (
	toEmbargo struct {
		e *embargoRef
		parcel
	}
	// shorten is the marker: behind it in the mailbox is nothing that was put on the embargo.
	shorten struct {
		e   *embargoRef
		ref *reference
	}
)

// embargoLoopback moves ref into an embargo on to, which it takes over, and asks for the Disembargo. The request
// goes through our own mailbox: calls that were put on the old road may wait there, and it has to go behind
// them. A reference that was let go meanwhile has nothing to wait for, and its import is released already: a
// Disembargo could no longer name it.
func (s *session) embargoLoopback(target wireTarget, ref *reference, to pin) {
	e := s.addEmbargo(to)
	s.embargoes.visit(e.id, func(x *embargo) { x.ref = ref })
	s.emit(do(func() {
		if ref.moveTo(func() road { return e }) {
			s.tellDisembargo(&askDisembargo{target: target, loopback: e.id, leaves: ref.born})
			return
		}
		s.embargoes.visit(e.id, func(x *embargo) { x.lifted = true })
		s.tell(&shorten{e, ref})
	}))
}

// addEmbargo makes an embargo on to, which it takes over: where the calls that come back by way of the peer go.
func (s *session) addEmbargo(to pin) *embargoRef {
	if f, ok := to.road.(fixedRef); ok && s.vat.breaks(hook.PinAtOnce) {
		if i := f.r.atHome(); i != nil {
			to.road = i
			f.drop()
		}
	}
	e := &embargoRef{s: s, to: to}
	e.hold()
	e.id = s.embargoes.addNew(&embargo{road: e})
	return e
}

// embargoResult is a client for what came in the results of q and is to, hosted here, behind an embargo: calls for
// it are under way to the peer. It takes over to.
func (s *session) embargoResult(to pin, q *questionRef, path []capnp.PipelineOp) capnp.Client {
	e := s.addEmbargo(to)
	e.hold() // for the reference
	client, ref := s.vat.newReference(e, true)
	s.embargoes.visit(e.id, func(x *embargo) { x.ref = ref })
	q.hold()
	s.questions.visit(q.id, func(x *question) { x.dropped = false }) // it may have been let go for as long as calls on it are under way
	s.emit(&askDisembargo{target: wireTarget{onAnswer: true, id: q.id, path: path}, loopback: e.id, q: q})
	return client
}

func (s *session) putEmbargo(e *embargoRef, p parcel) {
	var to road
	s.embargoes.visit(e.id, func(x *embargo) {
		if x.lifted {
			to = e.to.road
			return
		}
		if c, ok := p.(*call); ok {
			if to = s.embargoRoom(c); to != nil {
				return
			}
		}
		x.queue = append(x.queue, waiting(p))
	})
	if to != nil {
		s.deliver(to, p)
	}
}

// embargoRoom counts the bytes of a call that is held back, or is the road to being refused.
func (s *session) embargoRoom(c *call) road {
	size := int(messageSize(c.content.Message()))
	if max := s.vat.limits.EmbargoBytes; s.embargoed+size > max {
		return brokenRoad{s.vat.beyondLimit("EmbargoBytes", max, "bytes of calls held back by embargoes")}
	}
	s.embargoed += size
	return nil
}

// lift hands the queue on and has the reference take the short cut, in two steps: it keeps new calls back
// until all that was put on the embargo before is past it.
func (s *session) lift(id uint32) error {
	var x embargo
	twice := false
	if !s.embargoes.visit(id, func(e *embargo) {
		twice = e.lifted
		e.lifted = true
		x = *e
		e.queue = nil
	}) || twice {
		return fault("Disembargo (receiverLoopback) %d, which was not sent", id)
	}
	for _, p := range x.queue {
		if c, ok := p.(*call); ok {
			s.embargoed -= int(messageSize(c.content.Message()))
		}
		s.deliver(x.road.to.road, p)
	}
	s.emit(letGo(func() {
		if s.vat.breaks(hook.Marker) {
			x.ref.settleOn(x.road.to.again())
		}
		x.road.gate.keepBack()
		x.ref.keepBack()
		s.tell(&shorten{x.road, x.ref})
	}))
	return nil
}

func (s *session) shorten(m *shorten) {
	s.embargoes.remove(m.e.id)
	s.embargoes.ids.giveBack(m.e.id)
	s.emit(letGo(func() { m.apply(s.vat) }))
}

// apply takes the short cut, for what is pinned to the embargo first: who has the reference has heard more.
func (m *shorten) apply(v *Vat) {
	m.e.gate.cutShort(m.e.to.road)
	if !v.breaks(hook.Marker) {
		m.ref.settleOn(m.e.to.again())
	}
	m.e.drop()
}
