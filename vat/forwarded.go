package vat

import (
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
)

// A vat that was introduced to a capability and has not called it yet, and passes it on, forwards the contact: it
// signs that the next may accept, and never connects to the host itself. Calls on what it gave out, from before the
// next vat has picked the capability up, go by the vine that it was given; a Disembargo goes the same way, and
// comes to the introducer, who alone can address the provider. Its own calls are behind an embargo then, like those
// of the vat that it passed the contact on to, and each has its own.
//
// Whoever cannot be forwarded to is given a promise instead, and the capability is accepted and provided anew.

// readForwards reads how a contact came from the introducer to us. It is cut short where it has been here before.
func (s *session) readForwards(c *contact, to transport.ToContact) error {
	hops, err := transport.DecodeForwards(to.Forwards())
	if err != nil {
		return fault("ToContact: %v", err)
	}
	us := s.vat.ID()
	c.Introducer, c.Recipient, c.Forwards = s.peer, us, hops
	last := len(hops) - 1
	if last < 0 {
		return nil
	}
	if c.Introducer, c.Recipient, err = readParties(to.Introducer, to.Recipient); err != nil {
		return fault("ToContact: %v", err)
	}
	before := c.Introduced
	before.Forwards = hops[:last]
	if before.Holder() != s.peer || c.Holder() != us {
		return fault("ToContact forwarded by %s to %s", before.Holder().Short(), c.Holder().Short())
	}
	c.Introduced = c.Cut(us)
	return nil
}

func readParties(introducer, recipient func() (transport.VatId, error)) (by, to transport.VatID, err error) {
	id, err := introducer()
	if err == nil {
		by, err = transport.DecodeVatID(id)
	}
	if err == nil {
		id, err = recipient()
	}
	if err == nil {
		to, err = transport.DecodeVatID(id)
	}
	return by, to, err
}

// completion is what the recipient of an introduction shows the host.
func completion(seg *capnp.Segment, what transport.Introduced) transport.ToComplete {
	done := must(transport.NewToComplete(seg))
	check(what.Introducer.Encode(must(done.NewIntroducer())))
	check(done.SetNonce(what.Nonce[:]))
	if len(what.Forwards) > 0 {
		check(what.Recipient.Encode(must(done.NewRecipient())))
		check(what.EncodeForwards(done.NewForwards))
	}
	return done
}

// readCompletion reads what the peer shows us, the host: well-formed, and not verified.
func (s *session) readCompletion(ptr capnp.Ptr, err error) (what transport.Introduced, _ error) {
	if err != nil {
		return what, fault("unreadable Accept: %v", err)
	}
	done := transport.ToComplete(ptr.Struct())
	b, err := done.Nonce()
	if err != nil {
		return what, fault("unreadable ToComplete: %v", err)
	}
	n, err := toNonce(b)
	if err != nil {
		return what, err
	}
	hops, err := transport.DecodeForwards(done.Forwards())
	if err != nil {
		return what, fault("ToComplete: %v", err)
	}
	what = transport.Introduced{Host: s.vat.ID(), Nonce: n, Recipient: s.peer, Forwards: hops}
	recipient := done.Recipient
	if len(hops) == 0 {
		recipient = done.Introducer // there is none to read
	}
	introducer, first, err := readParties(done.Introducer, recipient)
	if err != nil {
		return what, fault("ToComplete: %v", err)
	}
	if what.Introducer = introducer; len(hops) > 0 {
		what.Recipient = first
	}
	return what, nil
}

// notFor says why by may not accept what, nil if that is for the introducer to say.
func notFor(by transport.VatID, what transport.Introduced) error {
	if what.Holder() != by {
		return &refusal{by, "the contact was forwarded to " + what.Holder().Short()}
	}
	if err := what.Verify(); err != nil {
		return &refusal{by, err.Error()}
	}
	return nil
}

// embargo is the id of an embargo, if there is to be one: something went by the vine. It is lifted behind that.
func (c *contact) embargo() []byte {
	vine, ok := c.vine.road.(*importRef)
	if !ok || !vine.used.Load() {
		return nil
	}
	id := c.vat.newNonce()
	c.from.tell(&askDisembargo{target: wireTarget{id: vine.id}, accept: id[:]})
	return id[:]
}

// usedByVine has c accepted behind an embargo.
func (c *contact) usedByVine() {
	if vine, ok := c.vine.road.(*importRef); ok {
		vine.used.Store(true)
	}
}

// contact is that of the reference which p is a pin on, while that has not been accepted; nil if there is none. The
// caller drops it.
func (p pin) contact() *contact {
	if !p.snap.IsValid() {
		return nil
	}
	r, ok := p.snap.Brand().Value.(*reference)
	if !ok {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.contact == nil {
		return nil
	}
	return r.contact.again()
}

// mayPassTo says whether the peer of s can be told of c as it is. That is also the one who told us: he has the vine.
func (c *contact) mayPassTo(s *session) bool {
	if _, ok := c.vine.road.(*importRef); !ok {
		return false
	}
	return s == c.from || c.mayForward && len(c.Forwards) < transport.MaxForwards && s.peer.IsPlain() == c.Host.IsPlain() &&
		s.has(transport.FeatureHandoff|transport.FeatureForwardedContacts)
}

// byVine is p with the vine of c for its road. It takes over both.
func (p pin) byVine(c *contact) pin {
	to := pin{p.snap.again(), c.vine.road}
	c.vine.road.(holder).hold()
	c.drop()
	c.vat.freeLater(&p)
	return to
}

// toPassOn is p, which it takes over, as it can be named to the peer of s: by the vine where it is to be forwarded.
func (p pin) toPassOn(s *session) pin {
	if _, ok := p.road.(fixedRef); !ok {
		return p
	}
	c := p.contact()
	if c == nil {
		return p
	}
	if !c.mayPassTo(s) {
		c.drop()
		return p
	}
	return p.byVine(c)
}

// passOn is to, which it takes over, as a promise resolves to it that was exported to those who watch it. Where all of
// them can be forwarded to, what they have called, and still call, goes by the vine; otherwise we accept for them.
func passOn(to pin, watchers []*watcher) pin {
	if _, ok := to.road.(fixedRef); !ok || len(watchers) == 0 {
		return to
	}
	c := to.contact()
	if c == nil {
		return to
	}
	for _, w := range watchers {
		if !c.mayPassTo(w.s) {
			c.drop()
			return to
		}
	}
	return to.byVine(c)
}

// introductionOf introduces the peer of s to the capability of p; nil where that cannot be.
func (s *session) introductionOf(p pin) *introduction {
	c := p.contact()
	if c == nil {
		return introduce(p.road, s)
	}
	if p.road != c.vine.road || c.from == s || !c.mayPassTo(s) {
		c.drop()
		return introduce(p.road, s)
	}
	next, err := c.Forward(s.peer, s.vat.network.Sign)
	check(err)
	in := &introduction{Introduced: next, mayForward: c.mayForward, ofCall: c.ofCall, recipient: s, vine: c.vine, addresses: c.addresses}
	if d := s.vat.directory; len(in.addresses) == 0 && (d == nil || len(d.Addresses(c.Host)) == 0) {
		in.addresses = s.vat.addressesOf(c.Host)
	}
	return in
}

// acceptHere picks up for ref, whose gate the caller holds, what we host ourselves: the contact has come back. Until the
// provision is there, and the embargo is lifted, ref holds what is called.
func (c *contact) acceptHere(ref *reference, embargo []byte) {
	v := c.vat
	here := &acceptedHere{ref: ref, vine: c.vine.again()}
	ref.here = here
	if err := c.Verify(); err != nil {
		v.refused(c.from.peer, c.Introducer, err)
		here.settle(result{err: failed("%v", err)})
		return
	}
	park := parked{by: v.ID(), as: c.Recipient, to: here, embargo: string(embargo), held: embargo != nil}
	pr, err := v.provision(provisionKey{c.Introducer, c.Nonce}, charge{v.ID(), false}, func(x *provision) []outcome {
		return x.accept(park)
	})
	if err != nil {
		here.settle(result{err: err})
		return
	}
	here.waits(pr, v.expire(pr, here))
}

// acceptedHere is a reference that waits for a provision of our own. What settles it first counts.
type acceptedHere struct {
	ref  *reference
	vine pin

	mu      sync.Mutex
	settled bool
	at      *provisionRef
	stop    func() // of the deadline
}

func (h *acceptedHere) waits(at *provisionRef, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = at
	if h.stop = stop; h.settled {
		stop()
	}
}

// leave: nobody cares any more.
func (h *acceptedHere) leave() {
	h.mu.Lock()
	at := h.at
	h.mu.Unlock()
	if at != nil {
		at.leave(h)
		h.settle(result{err: errCanceled})
	}
}

// settle implements accepter. It is called under locks.
func (h *acceptedHere) settle(res result) {
	h.mu.Lock()
	again := h.settled
	h.settled = true
	if h.stop != nil {
		h.stop()
	}
	h.mu.Unlock()
	v := h.ref.vat
	v.later(func() {
		defer res.free()
		if again {
			return
		}
		defer h.vine.free()
		to := h.vine // where calls go on if it failed, as in vine.go
		switch {
		case res.err == nil:
			to = *res.cap
			v.handedOff(func(h *Handoffs) { h.Accepted++ })
		case res.err != errCanceled:
			v.handedOff(func(h *Handoffs) { h.Vine++ })
			v.log.Warn("handoff failed here: calls go on through the introducer", "err", res.err)
		}
		h.ref.settleOn(to.again().named(v))
	})
}
