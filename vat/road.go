package vat

import (
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
)

// A road leads to a capability, and what is put on it arrives in the order in which it was put. A road is
// one of:
//
//	importRef     onto the wire of the session from which it was imported
//	pipelineRoad  onto the same, addressed to an answer that has not come, or to what came of it
//	embargoRef    into the queue of an embargo, or past it once it is lifted
//	*promise      into the queue of a promise, or to what it was resolved to
//	callersOf     the same, for local callers, who follow on from there
//	answerRoad    to what comes of a call of local code, wherever that went (of two kinds, one for local callers)
//	*object       to a local object
//	*spawned      to a local object that is an actor
//	brokenRoad    nowhere
//	fixedRef      where a reference goes until it settles, and then to one of these
//	*reference    whichever of these the reference is on now
//
// All but callersOf and *reference are fixed: a pin holds one of them for ever, and that is what keeps a peer's
// calls on a resolved promise from going round it (rpc.capnp, Tribble 4-way race).
type road interface {
	// put enqueues p behind all that was put before. It runs nothing, so it is safe under locks.
	put(p parcel)
	// wake sees to it that what was put is run, by another goroutine.
	wake()
	// run is wake, but may use this goroutine: only for callers that hold no lock and are in no turn.
	run()
}

// brokenRoad rejects what is put on it.
type brokenRoad struct{ err error }

var releasedRoad road = brokenRoad{errReleased}

func (b brokenRoad) put(p parcel) { p.reject(b.err) }
func (b brokenRoad) wake()        {}
func (b brokenRoad) run()         {}

// A pin is a reference that does not follow resolutions: what is addressed to it goes down one road.
// It keeps the capability alive until it is released.
type pin struct {
	snap *snapshot // nil for null
	road road
}

// A snapshot is what pins of one capability share, for in go-capnp each reference is allocated.
type snapshot struct {
	capnp.ClientSnapshot
	remote bool // its hook is a reference
	pins   atomic.Int32
}

// newPin takes over s.
func newPin(s capnp.ClientSnapshot, to road) pin {
	shared := &snapshot{ClientSnapshot: s}
	switch to.(type) {
	case *reference, *importRef:
		shared.remote = true
	}
	shared.pins.Store(1)
	return pin{shared, to}
}

// IsValid says whether s is of anything but null.
func (s *snapshot) IsValid() bool { return s != nil }

func (s *snapshot) again() *snapshot {
	if s != nil {
		s.pins.Add(1)
	}
	return s
}

// Release lets go for one pin.
func (s *snapshot) Release() {
	if s != nil && s.pins.Add(-1) == 0 {
		s.ClientSnapshot.Release()
	}
}

// releaseHere is Release where that enters no code but ours: for a pin that is not the last, or of a remote capability
// that will not resolve. It says whether it is one. The hook is not asked again what it is: that of a pipelined client
// would look into results that may be let go of at this moment.
func (s *snapshot) releaseHere() bool {
	if s == nil || notLast(&s.pins) {
		return true
	}
	if !s.remote || s.IsPromise() {
		return false
	}
	s.Release()
	return true
}

// notLast counts one down, unless it is the last.
func notLast(n *atomic.Int32) bool {
	for {
		was := n.Load()
		if was <= 1 {
			return false
		}
		if n.CompareAndSwap(was, was-1) {
			return true
		}
	}
}

// pinClient pins c as it is now. It borrows c.
func (v *Vat) pinClient(c capnp.Client) pin { return v.follow(c).asItIs() }

// asItIs is p, which follows resolutions and which it takes over, on the road of now.
func (p pin) asItIs() pin {
	switch to := p.road.(type) {
	case *reference:
		p.road = to.end()
	case callersOf:
		p.road = to.promise
	case answerRoad:
		to.fixed = true
		p.road = to
	}
	return p
}

// follow is a pin that does follow resolutions where c is a reference: for local callers. It borrows c.
func (v *Vat) follow(c capnp.Client) pin {
	s := c.Snapshot()
	if !s.IsValid() {
		return pin{road: brokenRoad{errNull}}
	}
	brand := s.Brand()
	switch b := brand.Value.(type) {
	case *reference:
		return newPin(s, b)
	case *promise:
		b.hold()
		return newPin(s, callersOf{b})
	case *spawned:
		return newPin(s, b)
	case capnp.PipelineClient:
		if a, ok := answerOf(b); ok {
			return newPin(s, answerRoad{a: a, path: b.Transform()})
		}
	case error:
		return newPin(s, brokenRoad{b})
	}
	_, isServer := server.IsServer(brand)
	if !isServer && s.IsPromise() {
		// Nothing remote is left to the queue of go-capnp's own promises (see adopt).
		defer s.Release()
		return v.adopt(s)
	}
	return newPin(s, v.objectOf(s, isServer))
}

// again is a second pin of the same.
func (p pin) again() pin {
	if q, ok := p.road.(holder); ok {
		q.hold()
	}
	return pin{p.snap.again(), p.road}
}

// freeHere is free as far as that enters no code but ours: it may be called in turns and under locks of ours. It
// returns what is left to be freed, if there is something.
func (p pin) freeHere() (left pin, more bool) {
	switch to := p.road.(type) {
	case *importRef, pipelineRoad:
		dropRoad(to)
	case *object:
		if to.queue != nil {
			return p, true
		}
		if !to.dropUnlessLast() {
			left.road, more = to, true
		}
	case holder:
		left.road, more = p.road, true
	}
	if !p.snap.releaseHere() {
		left.snap, more = p.snap, true
	}
	return left, more
}

// free releases the pin. It may enter code that is not ours: see [Vat.later].
func (p pin) free() {
	if o, ok := p.road.(*object); ok {
		defer o.drop() // it is the last to let go of a hook, on the goroutine where that may block
	} else {
		dropRoad(p.road)
	}
	p.snap.Release()
}

// client is a client for the pinned capability, which follows resolutions. The caller releases it.
func (p pin) client() capnp.Client {
	if !p.snap.IsValid() {
		return capnp.Client{}
	}
	return p.snap.Client()
}

// A holder is a road that lives as long as somebody holds it.
type holder interface {
	hold()
	drop()
}
