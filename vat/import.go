package vat

import (
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// An imported is a capability or promise of the peer's that we hold: an entry of the import table.
//
// It lives while an importRef of it is held. refs counts how often the peer has sent it; one Release gives all
// of them back when the last holder lets go. If the peer sends it again while that news is in the mailbox, a
// new importRef is made and the entry lives on.
type imported struct {
	id       uint32
	refs     uint32
	refsHeld int // importRefs whose last holder has not let go
	client   capnp.WeakClient
	ref      *reference
	promise  bool
	resolved bool
}

// An importRef is the road to an import, and something to hold.
type importRef struct {
	s     *session
	id    uint32
	holds atomic.Int32
	// used says that something was put on it: a resolution then needs an embargo. It is set under the gate of
	// whoever puts.
	used atomic.Bool
}

var _ road = (*importRef)(nil)
var _ holder = (*importRef)(nil)

func (i *importRef) put(p parcel) {
	i.used.Store(true)
	i.s.putParcel(&toImport{i, p}, p)
}
func (i *importRef) wake() { i.s.wake() }
func (i *importRef) run()  { i.s.run() }
func (i *importRef) hold() { i.holds.Add(1) }
func (i *importRef) drop() {
	if n := i.holds.Add(-1); n == 0 {
		i.s.tell(&dropImport{i})
	} else if n < 0 {
		panic("vat: import dropped more often than held")
	}
}

type (
	toImport struct {
		i *importRef
		parcel
	}
	dropImport struct{ i *importRef }
)

// putImport sends a parcel on. It is held by whoever put it, so the import is there.
func (s *session) putImport(m *toImport) {
	s.putWire(wireTarget{id: m.i.id}, m.parcel, nil)
}

// importCap is a client for the import id, which the peer has just sent once more. The caller releases it.
func (s *session) importCap(id uint32, promise bool) (capnp.Client, error) {
	var c capnp.Client
	known := s.imports.visit(id, func(x *imported) {
		x.refs++
		if again, ok := x.client.AddRef(); ok {
			c = again
			return
		}
		c = s.newImportRef(x)
	})
	if known {
		return c, nil
	}
	if n := s.vat.limits.Imports; s.imports.len() >= n {
		return c, fault("more than %d imports: Limits.Imports", n)
	}
	x := &imported{id: id, refs: 1, promise: promise}
	c = s.newImportRef(x)
	s.imports.add(id, x)
	return c, nil
}

func (s *session) newImportRef(x *imported) capnp.Client {
	i := &importRef{s: s, id: x.id}
	i.holds.Store(1)
	x.refsHeld++
	c, ref := s.vat.newReference(i, x.promise && !x.resolved)
	x.client, x.ref = c.WeakRef(), ref
	return c
}

func (s *session) importDropped(i *importRef) {
	var release uint32
	s.imports.visit(i.id, func(x *imported) {
		if x.refsHeld--; x.refsHeld == 0 {
			release = x.refs
		}
	})
	if release > 0 {
		s.imports.remove(i.id)
		s.send(msgRelease(i.id, release))
	}
}

// onResolve obeys "sent to indicate that a previously-sent promise has now been resolved to some other object".
func (s *session) onResolve(r rpc.Resolve) error {
	id := r.PromiseId()
	var ref *reference
	twice := false
	s.imports.visit(id, func(x *imported) {
		twice = x.resolved || !x.promise
		x.resolved = true
		ref = x.ref
	})
	if twice {
		return fault("Resolve of %d, which is not an unresolved promise", id)
	}
	switch r.Which() {
	case rpc.Resolve_Which_cap:
		return decoded(func(d rpc.CapDescriptor) error { return s.resolveTo(id, ref, d) }, r.Cap)
	case rpc.Resolve_Which_exception:
		return decoded(func(e rpc.Exception) error {
			err := exception(e)
			if ref != nil {
				s.emit(do(func() { ref.breakWith(err) }))
			}
			return nil
		}, r.Exception)
	}
	return fault("Resolve of unknown kind %d", r.Which())
}

// resolveTo takes the new place of the promise that ref stands for; ref is nil where it was released already:
// "the receiver should simply release the capability to which the promise resolved".
func (s *session) resolveTo(id uint32, ref *reference, d rpc.CapDescriptor) error {
	if ref == nil || ref.settled() {
		c, err := s.readCap(d)
		s.emit(do(func() { s.vat.later(c.Release) }))
		return err
	}
	if d.Which() == rpc.CapDescriptor_Which_thirdPartyHosted && s.has(transport.FeatureHandoff) {
		return s.resolveToThirdParty(id, ref, d)
	}
	c, err := s.readCap(d)
	if err != nil {
		return err
	}
	local := d.Which() == rpc.CapDescriptor_Which_receiverHosted || d.Which() == rpc.CapDescriptor_Which_receiverAnswer
	if local && !ref.keepBackUnused() {
		s.embargoLoopback(wireTarget{id: id}, ref, c)
		return nil
	}
	// Hosted by the peer: what comes goes the same way as what went. Or nothing ever went.
	s.emit(do(func() {
		ref.settle(c)
		s.vat.later(c.Release)
	}))
	return nil
}
