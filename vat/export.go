package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// An export is a capability or promise of ours that the peer holds.
//
// States: settled (senderHosted); unresolved (senderPromise, watched); resolved (a Resolve went out). It
// lives until the peer has released as often as we have sent it.
//
// road is where what is addressed to it goes. Unresolved, it goes with the promise. Once resolved it is fixed,
// whatever becomes of what it was resolved to (rpc.capnp, Tribble 4-way race).
type export struct {
	id       uint32
	refs     uint32
	pin      pin // keeps the capability alive
	road     road
	watch    *watcher // nil once resolved, or never a promise
	resolved bool
	key      *capnp.Metadata
	intro    *introduction // it was named to the peer by this; the vine holds its Provide
	vine     bool
}

// A watcher waits, for one export of one session, for a promise or reference to resolve.
type watcher struct {
	s       *session
	id      uint32
	ref     *reference // what is watched: one of these. By a fixedRef, which is held, for that is the export's road
	promise *promise
}

// unwatch forgets what is watched.
func (w *watcher) unwatch() {
	if w.promise != nil {
		w.promise.unwatch(w)
		return
	}
	w.ref.unwatch(w)
	w.letGo()
}

// letGo drops the fixedRef.
func (w *watcher) letGo() {
	if w.ref != nil {
		fixedRef{w.ref}.drop()
	}
}

// tell posts the news. to is taken over, intro too.
func (w *watcher) tell(to pin, intro *introduction) {
	m := &resolved{w: w, to: to, intro: intro}
	if !w.s.post(m) {
		m.free(w.s.vat)
		return
	}
	w.s.wake()
}

// resolved is the news that what was exported as a promise has resolved to the capability to.
type resolved struct {
	w     *watcher
	to    pin
	intro *introduction
}

func (m *resolved) free(v *Vat) {
	v.freeLater(&m.to)
	if m.intro != nil {
		m.intro.drop()
	}
}

// exportRoom says why the peer cannot be given n more capabilities. Some of them it may have already: that is known
// only once they are described.
func (s *session) exportRoom(n int) error {
	if max := s.vat.limits.Exports; n > 0 && s.exports.len()+n > max {
		return s.vat.beyondLimit("Exports", max, "capabilities held by "+s.peer.Short())
	}
	return nil
}

// addExport makes an entry for p, which it takes over, or counts one more for the entry that there is.
func (s *session) addExport(p pin, key *capnp.Metadata) uint32 {
	if id, ok := s.exported[key]; ok && key != nil {
		s.exports.visit(id, func(e *export) { e.refs++ })
		s.freeLater(p)
		return id
	}
	e := &export{refs: 1, pin: p, road: p.road, key: key}
	id := s.exports.addNew(e)
	s.exports.visit(id, func(e *export) { e.id = id })
	if key != nil {
		s.exported[key] = id
	}
	return id
}

// addPromise makes an entry for an unresolved promise, or counts one more: "even if the same senderPromise is
// received multiple times, only one Resolve is sent".
func (s *session) addPromise(p pin, key *capnp.Metadata, w *watcher) uint32 {
	id, again := s.exported[key]
	if again {
		s.exports.visit(id, func(e *export) { e.refs++ })
		s.freeLater(p)
		w.letGo()
		return id
	}
	id = s.addExport(p, key)
	w.s, w.id = s, id
	s.exports.visit(id, func(e *export) {
		e.watch = w
		if w.ref != nil {
			e.road = fixedRef{w.ref}
		}
	})
	s.emit(do(func() {
		if w.ref != nil {
			w.ref.watch(w)
		} else {
			w.promise.watch(w)
		}
	}))
	return id
}

// exportResolved sends the Resolve, "exactly one".
func (s *session) exportResolved(m *resolved) {
	var e export
	s.exports.visit(m.w.id, func(x *export) { e = *x })
	if e.watch != m.w {
		// Released meanwhile. "There is no longer any reason to send a Resolve"; the Provide is finished.
		s.emit(letGo(func() { m.free(s.vat) }))
		return
	}
	to := m.to
	if !to.snap.IsValid() && m.intro == nil {
		if _, unnamed := to.road.(pipelineRoad); unnamed {
			s.freeLater(to)
			return
		}
	}
	msg := newMessage()
	r := must(msg.NewResolve())
	r.SetPromiseId(m.w.id)
	old := e.pin
	broken, _ := to.road.(brokenRoad)
	if broken.err == nil {
		broken.err = s.exportRoom(1)
	}
	if broken.err != nil {
		check(setException(must(r.NewException()), broken.err))
		m.to = to
		s.emit(letGo(func() { m.free(s.vat) }))
	} else {
		via, vine := to.road, to
		if m.w.promise != nil {
			via, vine = m.w.promise, e.pin
		}
		intro := s.describeAs(must(r.NewCap()), to.again(), via, vine, m.intro)
		s.exports.visit(m.w.id, func(x *export) { x.intro = intro })
		if m.w.promise == nil {
			s.exports.visit(m.w.id, func(x *export) { x.pin, x.road = to, to.road })
			s.freeLater(old)
		} else {
			// What a peer addresses to a promise of the vat passes through it for ever: nothing goes round it.
			s.freeLater(to)
		}
	}
	s.exports.visit(m.w.id, func(x *export) { x.watch, x.resolved = nil, true })
	s.emit(letGo(m.w.letGo))
	delete(s.exported, e.key)
	s.send(msg)
	s.flushBroken()
}

// putExport puts p on the road of an export.
func (s *session) putExport(id uint32, p parcel) error {
	var to road
	if !s.exports.visit(id, func(e *export) { to = e.road }) {
		return fault("message for export %d, which does not exist", id)
	}
	s.deliver(to, p)
	return nil
}

// onRelease obeys "Message type sent to indicate that the sender is done with the given capability".
func (s *session) onRelease(r rpc.Release) error {
	return s.releaseExport(r.Id(), r.ReferenceCount())
}

func (s *session) releaseExport(id, count uint32) error {
	var e export
	short := false
	if !s.exports.visit(id, func(x *export) {
		if short = x.refs < count; !short {
			x.refs -= count
		}
		e = *x
	}) {
		return fault("Release of export %d, which does not exist", id)
	}
	if short {
		return fault("Release of export %d by %d, more than the %d references sent", id, count, e.refs)
	}
	if e.refs == 0 {
		s.dropExport(e)
	}
	return nil
}

func (s *session) dropExport(e export) {
	s.exports.remove(e.id)
	s.exports.ids.giveBack(e.id)
	if s.exported[e.key] == e.id {
		delete(s.exported, e.key)
	}
	s.freeLater(e.pin)
	if w := e.watch; w != nil {
		s.emit(letGo(w.unwatch))
	}
	if e.vine {
		s.emit((*dropIntroduction)(e.intro))
	}
}

// resolveUnimplemented: "The original sender can then simply release the cap to which the promise had
// resolved, thus avoiding a leak."
func (s *session) resolveUnimplemented(r rpc.Resolve) error {
	if r.Which() != rpc.Resolve_Which_cap {
		return nil
	}
	d, err := r.Cap()
	if err != nil {
		return fault("unreadable Resolve: %v", err)
	}
	switch d.Which() {
	case rpc.CapDescriptor_Which_senderHosted:
		return s.releaseExport(d.SenderHosted(), 1)
	case rpc.CapDescriptor_Which_senderPromise:
		return s.releaseExport(d.SenderPromise(), 1)
	case rpc.CapDescriptor_Which_thirdPartyHosted:
		t, err := d.ThirdPartyHosted()
		if err != nil {
			return fault("unreadable Resolve: %v", err)
		}
		return s.releaseExport(t.VineId(), 1)
	}
	return nil
}
