package vat

import (
	"context"
	"sync"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
)

// pinPart is a pin on what can be named of a part of the results of a local call: the capability, if it is here,
// else a promise of ours for it, one as long as anything is pinned to it. Either way it leads where r does that is
// fixed, so that a Disembargo which follows the one road comes by the vat that was named for the other. It borrows r, which
// is held.
func (v *Vat) pinPart(r answerRoad) pin {
	a := r.a
	a.mu.Lock()
	if a.pipe.res != nil {
		fixed := a.pipe.fixed
		a.mu.Unlock() // what is there may be a part of another answer
		return a.pipe.res.pinAt(v, r.path, fixed)
	}
	if e := a.pipe.early; e.has(r.path) {
		defer e.hold().drop(v)
		a.mu.Unlock()
		return e.pinAt(v, r.path, e.fixed)
	}
	defer a.mu.Unlock()
	for _, f := range a.parts {
		if samePath(f.path, r.path) {
			if snap, ok := f.p.adopted.again(); ok {
				return newPin(snap, f.p)
			}
		}
	}
	c, p := v.newPromise()
	defer v.later(c.Release)
	if p.pid == nil {
		return v.follow(c) // the vat is closed
	}
	p.adopted = &adoption{self: c.Snapshot(), pins: 1}
	a.inFlight++ // as long as somebody has it, or a call waits on it
	p.abandon = a.settledOne
	a.parts = append(a.parts, feed{path: r.path, p: p})
	return newPin(c.Snapshot(), p)
}

type adoptedKey struct{ v *Vat }

// adopt is a pin on a promise of ours that stands for s, an unresolved promise of go-capnp's (a
// NewLocalPromise, the pipelined result of a local call). What a session puts on it waits with us until s
// resolves, never in go-capnp's AnswerQueue: that one blocks while it drains, and panics when it is
// fulfilled with null while calls on calls wait. It borrows s.
//
// There is one promise for one hook as long as anything is pinned to it: with two, what was put on the first
// could be overtaken by what was put on the second.
func (v *Vat) adopt(s capnp.ClientSnapshot) pin {
	md := s.Metadata()
	md.Lock()
	defer md.Unlock()
	if x, ok := md.Get(adoptedKey{v}); ok {
		p := x.(*promise)
		if snap, ok := p.adopted.again(); ok {
			return newPin(snap, callersOf{p})
		}
	}
	c, p := v.newPromise()
	defer c.Release()
	if p.pid == nil {
		return v.follow(c) // the vat is closed
	}
	ctx, cancel := context.WithCancel(v.ctx)
	p.abandon = cancel
	p.adopted = &adoption{self: c.Snapshot(), pins: 1}
	md.Put(adoptedKey{v}, p)
	v.goroutines.Add(1)
	go func(s capnp.ClientSnapshot) {
		defer v.goroutines.Done()
		if s.Resolve1(ctx) == nil {
			var c capnp.Client // null, where the snapshot has none
			if s.IsValid() {
				c = s.Client()
			}
			p.resolve(c)
		}
		s.Release()
	}(s.AddRef())
	return newPin(c.Snapshot(), callersOf{p})
}

// resolveForeign waits until c is no promise of go-capnp's own. Whoever follows c for each call has to: what waits on the
// promise that stands for that one could be overtaken by what is called when it has resolved.
func resolveForeign(ctx context.Context, c capnp.Client) error {
	s := c.Snapshot()
	defer s.Release()
	for isForeign(s) {
		if err := s.Resolve1(ctx); err != nil {
			return callerError(ctx)
		}
	}
	return nil
}

// isForeign says whether s is a promise of go-capnp's own.
func isForeign(s capnp.ClientSnapshot) bool {
	if !s.IsValid() || !s.IsPromise() {
		return false
	}
	brand := s.Brand()
	switch b := brand.Value.(type) {
	case *reference, *promise, *spawned, error:
		return false
	case capnp.PipelineClient:
		if a, ours := answerOf(b); ours {
			answerRoad{a: a}.drop()
			return false
		}
	}
	_, isServer := server.IsServer(brand)
	return !isServer
}

// An adoption keeps the one client of a promise that stands for one of go-capnp's, as long as anything is pinned
// to it. (A WeakClient would not do: it is weak on a chain of references, not on the hook that they lead to.)
type adoption struct {
	mu   sync.Mutex
	pins int
	self capnp.ClientSnapshot // zero once pins has come to zero
}

func (a *adoption) again() (capnp.ClientSnapshot, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.self.IsValid() {
		return a.self, false
	}
	a.pins++
	return a.self.AddRef(), true
}

// hold implements holder. A promise of the vat's own code is held as well by the snapshots of it that most pins have; but not
// all: what is pinned to a reference that has settled on it has one of the reference.
func (p *promise) hold() {
	a := p.adopted
	if a == nil {
		p.actor.state.pins.Add(1)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pins++
}

// drop implements holder. It is for code outside of the turns of promises.
func (p *promise) drop() {
	a := p.adopted
	if a == nil {
		if p.actor.state.pins.Add(-1) == 0 {
			p.endIfOver()
		}
		return
	}
	a.mu.Lock()
	var self capnp.ClientSnapshot
	if a.pins--; a.pins == 0 {
		self, a.self = a.self, capnp.ClientSnapshot{}
	}
	a.mu.Unlock()
	if self.IsValid() {
		p.vat.later(self.Release)
	}
}
