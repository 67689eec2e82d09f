package vat

import (
	"slices"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// An imported is a capability or promise of the peer's that we hold: an entry of the import table.
//
// It lives while an importRef of it is held. refs counts how often the peer has sent it; one Release gives all
// of them back when the last holder lets go. If the peer sends it again while that news is in the mailbox, or
// where the client that it had been given is gone but not all that came of it, another importRef is made. So
// there may be several, each with a reference of its own, and a Resolve is for all of them.
type imported struct {
	id       uint32
	refs     uint32
	client   capnp.WeakClient // of the newest
	held     []heldImport     // whose last holder has not let go
	promise  bool
	resolved bool
}

type heldImport struct {
	i   *importRef
	ref *reference // nil: a vine, of which there is no client
}

// An importRef is the road to an import, and something to hold.
type importRef struct {
	s     *session
	id    uint32
	holds atomic.Int32
	// used says that something was put on it: a resolution then needs an embargo. It is set under the gate of
	// whoever puts.
	used atomic.Bool
	// left says that others who come by this road may move on from it, or have: it is a promise, or a vine.
	left atomic.Bool
	// gone: the Disembargo has been sent behind which nothing goes this way that is to keep its order with callers, or
	// the import has been released. For turns of s.
	gone bool
}

var _ road = (*importRef)(nil)
var _ holder = (*importRef)(nil)

func (i *importRef) put(p parcel) {
	i.used.Store(true)
	if c, ok := p.(*call); ok {
		c.to = i
		i.s.putParcel((*callToImport)(c), c)
		return
	}
	i.s.putParcel(&toImport{i, p}, p)
}
func (i *importRef) wake() { i.s.wake() }
func (i *importRef) run()  { i.s.run() }
func (i *importRef) hold() { i.holds.Add(1) }
func (i *importRef) drop() {
	if n := i.holds.Add(-1); n == 0 {
		i.s.tell((*dropImport)(i))
	} else if n < 0 {
		panic("vat: import dropped more often than held")
	}
}

type (
	toImport struct {
		i *importRef
		parcel
	}
	callToImport call // to the import that it has as its road: so it needs no memory for that
	dropImport   importRef
)

// taken is the call, on its way no more, and the import.
func (m *callToImport) taken() (*importRef, *call) {
	i := m.to.(*importRef)
	m.to = nil
	return i, (*call)(m)
}

// putImport sends a parcel on. It is held by whoever put it, so the import is there.
func (s *session) putImport(i *importRef, p parcel) {
	if err := s.circular[i.id]; err != nil {
		s.emit(letGo(func() { p.reject(err) }))
		return
	}
	s.putWire(wireTarget{id: i.id}, p, nil)
}

// importCap is a client for the import id, which the peer has just sent once more. The caller releases it.
func (s *session) importCap(id uint32, promise bool) (capnp.Client, error) {
	var c capnp.Client
	known := s.imports.visit(id, func(x *imported) {
		x.refs++
		if x.client != (capnp.WeakClient{}) {
			if again, ok := x.client.AddRef(); ok {
				c = again
				return
			}
		}
		c = s.newImportRef(x)
	})
	if known {
		return c, nil
	}
	if n := s.vat.limits.Imports; s.imports.len() >= n {
		return c, s.faultLimit("Imports", n)
	}
	x := &imported{id: id, refs: 1, promise: promise}
	c = s.newImportRef(x)
	s.imports.add(id, x)
	return c, nil
}

// importPin is a pin on the import id, a vine, which the peer has just sent. There is no client: mostly nothing is ever
// called on it. See pin.named.
func (s *session) importPin(id uint32) (pin, error) {
	x := s.imports.get(id)
	switch n := s.vat.limits.Imports; {
	case x != nil && x.promise:
		c, err := s.importCap(id, false)
		p := s.vat.pinClient(c)
		s.emit(letGo(func() { s.vat.later(c.Release) }))
		return p, err
	case x == nil && s.imports.len() >= n:
		return pin{}, s.faultLimit("Imports", n)
	case x == nil:
		x = &imported{id: id}
		s.imports.add(id, x)
	}
	x.refs++
	i := &importRef{s: s, id: id}
	i.holds.Store(1)
	i.left.Store(true)
	x.held = append(x.held, heldImport{i: i})
	return pin{road: i}, nil
}

// named is p, which it takes over, with a client to name it by.
func (p pin) named(v *Vat) pin {
	i, ok := p.road.(*importRef)
	if !ok || p.snap.IsValid() {
		return p
	}
	i.hold()
	c, _ := v.newReference(i, false)
	defer c.Release()
	return newPin(c.Snapshot(), i)
}

func (s *session) newImportRef(x *imported) capnp.Client {
	i := &importRef{s: s, id: x.id}
	i.holds.Store(1)
	promise := x.promise && !x.resolved
	i.left.Store(promise)
	c, ref := s.vat.newReference(i, promise)
	x.client, x.held = c.WeakRef(), append(x.held, heldImport{i, ref})
	return c
}

func (s *session) importDropped(i *importRef) {
	i.gone = true
	var release uint32
	s.imports.visit(i.id, func(x *imported) {
		x.held = slices.DeleteFunc(x.held, func(h heldImport) bool { return h.i == i })
		if len(x.held) == 0 {
			release = x.refs
		}
	})
	if release > 0 {
		s.imports.remove(i.id)
		delete(s.circular, i.id)
		s.send(msgRelease(i.id, release))
	}
}

// onResolve obeys "sent to indicate that a previously-sent promise has now been resolved to some other object".
func (s *session) onResolve(r rpc.Resolve) error {
	id := r.PromiseId()
	var refs []*reference
	twice := false
	s.imports.visit(id, func(x *imported) {
		twice = x.resolved || !x.promise
		x.resolved = true
		for _, h := range x.held {
			if h.ref != nil && !h.ref.settled() {
				refs = append(refs, h.ref)
			}
		}
	})
	if twice {
		return fault("Resolve of %d, which is not an unresolved promise", id)
	}
	switch r.Which() {
	case rpc.Resolve_Which_cap:
		return decoded(func(d rpc.CapDescriptor) error { return s.resolveTo(id, refs, d) }, r.Cap)
	case rpc.Resolve_Which_exception:
		return decoded(func(e rpc.Exception) error {
			err := exception(e)
			for _, ref := range refs {
				s.emit(letGo(func() { ref.breakWith(err) }))
			}
			return nil
		}, r.Exception)
	}
	return fault("Resolve of unknown kind %d", r.Which())
}

// resolveTo takes the new place of the promise that refs stand for. There are none where it was released
// already: "the receiver should simply release the capability to which the promise resolved".
func (s *session) resolveTo(id uint32, refs []*reference, d rpc.CapDescriptor) error {
	if len(refs) > 0 && d.Which() == rpc.CapDescriptor_Which_thirdPartyHosted && s.has(transport.FeatureHandoff) {
		return s.resolveToThirdParty(id, refs, d)
	}
	c, err := s.readCap(d)
	if err != nil {
		return err
	}
	if i, by := importRoad(s.ownRoad(d)); i != nil && i.s == s && i.id == id {
		s.breakCircle(id, refs, by)
		s.emit(letGo(func() { s.vat.later(c.Release) }))
		return nil
	}
	local := d.Which() == rpc.CapDescriptor_Which_receiverHosted || d.Which() == rpc.CapDescriptor_Which_receiverAnswer
	if i, ok := s.vat.importOf(c); ok && d.Which() == rpc.CapDescriptor_Which_senderPromise {
		// What went to the first promise goes on to this one, over there: if it resolves to us, that is still under
		// way.
		i.used.Store(true)
	}
	for _, ref := range refs {
		if local && !s.vat.breaks(hook.Loopback) && !ref.keepBackUnused() {
			to, err := s.ownPin(d)
			if err != nil {
				return err
			}
			s.embargoLoopback(wireTarget{id: id}, ref, to)
			continue
		}
		// Hosted by the peer: what comes goes the same way as what went. Or nothing ever went.
		s.emit(letGo(func() { ref.settle(c) }))
	}
	s.emit(letGo(func() { s.vat.later(c.Release) }))
	return nil
}

// ownRoad is where calls on an export go that the peer names as receiverHosted; nil for any other descriptor.
func (s *session) ownRoad(d rpc.CapDescriptor) (to road) {
	if d.Which() == rpc.CapDescriptor_Which_receiverHosted {
		s.exports.visit(d.ReceiverHosted(), func(e *export) { to = e.road })
	}
	return to
}

// breakCircle: a promise of ours resolved to the import id, and that to ours. What is called on either would go
// round for ever, and each would hold the other: so the import, the promises that led to it and the peer's
// references to those all break.
func (s *session) breakCircle(id uint32, refs []*reference, by []*promise) {
	err := failed("promise resolved to itself, by way of %s", s.peer.Short())
	s.circular[id] = err
	for _, ref := range refs {
		s.emit(letGo(func() { ref.breakWith(err) }))
	}
	s.exports.sorted(func(_ uint32, e *export) {
		if p, ok := e.road.(*promise); ok && slices.Contains(by, p) {
			s.freeLater(e.pin)
			e.pin, e.road = pin{road: brokenRoad{err}}, brokenRoad{err}
		}
	})
	for _, p := range by {
		s.emit(letGo(func() { p.breakWith(err) }))
	}
}
