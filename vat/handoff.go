package vat

import (
	"encoding/hex"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A nonce names an introduction. It is random, and still no secret that anything rests on: a provision goes
// only to the vat that the introducer named.
type nonce [16]byte

func (n nonce) String() string { return hex.EncodeToString(n[:4]) }

func toNonce(b []byte) (n nonce, err error) {
	if len(b) != len(n) {
		return n, fault("nonce of %d bytes, want %d", len(b), len(n))
	}
	copy(n[:], b)
	return n, nil
}

// An introduction is what we, the introducer, tell the recipient of where a capability is: the host, and the
// nonce under which it provides it to that recipient. provide is the Provide, or the call whose results are
// kept; the vine holds it.
//
// Where we only pass on how we were introduced ourselves, it is forwarded: there is no Provide of ours then, and the
// vine of this introduction holds the one that we were given. See forwarded.go.
type introduction struct {
	transport.Introduced
	addresses  []string
	mayForward bool // the recipient may pass it on in its turn
	ofCall     bool // it stands for results that are kept
	recipient  *session
	provide    *questionRef
	target     *importRef // what to provide
	vine       *pin       // forwarded: the vine that we were given
}

// drop lets go of the provision.
func (in *introduction) drop() {
	if in.provide != nil {
		in.provide.drop()
		return
	}
	in.recipient.vat.freeLater(in.vine)
}

// Effects of their own, for each is of every handoff: to post an introduction, to let go of one, and of the target of a
// Provide.
type (
	postIntroduction introduction
	dropIntroduction introduction
	dropTarget       importRef
)

func (e *postIntroduction) apply(*session)              { (*introduction)(e).post() }
func (e *postIntroduction) discard(*session, error)     {}
func (e *dropIntroduction) apply(*session)              { (*introduction)(e).drop() }
func (e *dropIntroduction) discard(s *session, _ error) { e.apply(s) }
func (e *dropTarget) apply(*session)                    { (*importRef)(e).drop() }
func (e *dropTarget) discard(s *session, _ error)       { e.apply(s) }

// introduce provides the capability at the end of to, a road of another session, to the peer of recipient, and
// is nil where that cannot be: the capability is proxied then. The Provide goes out with post.
func introduce(to road, recipient *session) *introduction {
	i, ok := to.(*importRef)
	if !ok || !i.introducible(recipient) {
		return nil
	}
	in := i.s.newIntroduction(recipient)
	in.provide = newQuestionRef(i.s, 1)
	in.target = i
	return in
}

// introducible says whether the peer of recipient can pick i up at its host.
func (i *importRef) introducible(recipient *session) bool {
	return i.s != recipient && i.s.end.Load() == nil &&
		i.s.has(transport.FeatureHandoff) && recipient.has(transport.FeatureHandoff)
}

// post enqueues the Provide. Its target must be held by the caller until then.
func (in *introduction) post() {
	i := in.target
	if i == nil {
		return // provided by another
	}
	i.hold() // until the Provide has gone
	if !i.s.post(&askProvide{q: in.provide, target: i, recipient: in.recipient.peer, nonce: nonce(in.Nonce)}) {
		i.drop()
		return
	}
	i.s.wake()
}

// newIntroduction names the peer as host. Its addresses are left out where the directory knows them: then the
// recipient's own does too.
func (s *session) newIntroduction(recipient *session) *introduction {
	return &introduction{
		Introduced: transport.Introduced{Host: s.peer, Introducer: s.vat.ID(), Nonce: s.vat.newNonce(), Recipient: recipient.peer},
		mayForward: s.has(transport.FeatureForwardedContacts),
		recipient:  recipient,
		addresses:  s.vat.addressesFor(s.peer),
	}
}

// addressesFor are the addresses of peer that another vat is to be told.
func (v *Vat) addressesFor(peer transport.VatID) []string {
	if d := v.directory; d != nil && len(d.Addresses(peer)) > 0 {
		return nil
	}
	return v.addressesOf(peer)
}

type (
	askProvide struct {
		q         *questionRef
		target    *importRef // held
		recipient transport.VatID
		nonce     nonce
	}
	askAccept struct {
		q       *questionRef
		at      *reference
		what    transport.Introduced
		embargo []byte // nil: none
		ofCall  bool   // what is a result of a call
	}
)

// sendProvide: "the sender wishes to make a particular capability implemented by the receiver available to a
// third party for direct access".
func (s *session) sendProvide(a *askProvide) {
	if err := s.questionRoom(); err != nil {
		a.q.end(err)
		s.emit(letGo(a.target.drop))
		return
	}
	id := s.ask(a.q, a.q.entry)
	m := newMessage()
	p := must(m.NewProvide())
	p.SetQuestionId(id)
	wireTarget{id: a.target.id}.encode(must(p.NewTarget()))
	await := must(transport.NewToAwait(p.Segment()))
	check(a.recipient.Encode(must(await.NewRecipient())))
	check(await.SetNonce(a.nonce[:]))
	check(p.SetRecipient(await.ToPtr()))
	s.send(m)
	s.emit((*dropTarget)(a.target))
}

// sendAccept: "pick up a capability hosted by the receiving vat and provided by a third party".
func (s *session) sendAccept(a *askAccept) {
	if err := s.questionRoom(); err != nil {
		a.unsent(err)
		s.emit(letGo(func() { s.acceptFailed(a.q, a.at) }))
		return
	}
	entry := a.q.entry
	entry.at, entry.accept = a.at, true
	id := s.ask(a.q, entry)
	m := newMessage()
	acc := must(m.NewAccept())
	acc.SetQuestionId(id)
	check(acc.SetProvision(completion(acc.Segment(), a.what).ToPtr()))
	if a.embargo != nil {
		check(acc.SetEmbargo(a.embargo))
	}
	s.send(m)
	if heard := s.heard; a.ofCall {
		s.emit(do(func() { s.vat.expireResults(a.q, heard) }))
	}
}

// A contact is an introduction as the recipient has it: where the capability is, and the vine.
//
// States: fresh (nothing was sent to the host: a vat that only passes the capability on never connects);
// accepted.
type contact struct {
	transport.Introduced
	vat        *Vat
	from       *session // who told us: the introducer, or one who forwarded it
	addresses  []string
	mayForward bool
	ofCall     bool // it stands for results of a call, which may take its time
	vine       *pin
}

// readContact reads a thirdPartyHosted descriptor.
func (s *session) readContact(d rpc.CapDescriptor) (*contact, error) {
	t, err := d.ThirdPartyHosted()
	if err != nil {
		return nil, fault("unreadable thirdPartyHosted: %v", err)
	}
	id, err := t.Id()
	if err != nil {
		return nil, fault("unreadable thirdPartyHosted: %v", err)
	}
	to := transport.ToContact(id.Struct())
	host, err := to.Host()
	if err != nil {
		return nil, fault("unreadable ToContact: %v", err)
	}
	c := &contact{vat: s.vat, from: s, mayForward: to.MayForward(), ofCall: to.OfCall()}
	if c.Host, err = transport.DecodeVatID(host); err != nil {
		return nil, fault("ToContact: %v", err)
	}
	b, err := to.Nonce()
	if err != nil {
		return nil, fault("unreadable ToContact: %v", err)
	}
	n, err := toNonce(b)
	if err != nil {
		return nil, err
	}
	c.Nonce = n
	if err := s.readForwards(c, to); err != nil {
		return nil, err
	}
	if c.addresses, err = readAddresses(to.Addresses()); err != nil {
		return nil, err
	}
	vine, err := s.importPin(t.VineId())
	if err != nil {
		return nil, err
	}
	c.vine = &vine
	return c, nil
}

const maxAddresses = 16

func readAddresses(list capnp.TextList, err error) ([]string, error) {
	if err != nil || list.Len() > maxAddresses {
		return nil, fault("%d addresses (at most %d): %v", list.Len(), maxAddresses, err)
	}
	var addrs []string
	for i := range list.Len() {
		a, err := list.At(i)
		if err != nil || len(a) > 256 {
			return nil, fault("unreadable address")
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// client is a client for the capability, accepted with the first call.
func (c *contact) client() capnp.Client {
	client, ref := c.vat.newReference(nil, true)
	ref.contact = c
	return client
}

// again is a contact for one more reference.
func (c *contact) again() *contact {
	more := *c
	vine := c.vine.again()
	more.vine = &vine
	return &more
}

// drop lets go of a contact that was not accepted.
func (c *contact) drop() { c.vat.freeLater(c.vine) }

// accept asks the host for the capability, for ref, whose road is its result. It enqueues: the road is to be woken. embargo
// may be nil.
// Where we are the host ourselves there is no question, and no road until ref settles.
func (c *contact) accept(ref *reference, embargo []byte) (*questionRef, road) {
	if c.Host == c.vat.ID() {
		c.acceptHere(ref, embargo)
		return nil, nil
	}
	q := c.askHost(ref, embargo)
	return q, pipelineRoad{q: q}
}

func (c *contact) askHost(ref *reference, embargo []byte) *questionRef {
	var ask *askAccept
	by, ok := c.vine.road.(*importRef)
	anyway := ok && by.s.end.Load() != nil // there is no other way
	_, err := c.vat.askReached(c.Host, c.addresses, anyway, func(host *session) error {
		if ask != nil { // of a session that ended for lack of use
			ask.q.end(ask.q.s.why())
			ask.q.drop()
		}
		q := newAcceptRef(host, c.vine.again())
		ask = &askAccept{q: q, at: ref, what: c.Introduced, embargo: embargo, ofCall: c.ofCall}
		return host.postOr(ask)
	})
	if err != nil {
		c.vat.later(func() { ask.unsent(err); ask.q.settleOn(ref) })
		return ask.q
	}
	if !c.ofCall {
		c.vat.expireAccept(ask.q)
	}
	return ask.q
}

// acceptError is what a reference breaks with whose Accept failed, or whose host cannot be reached.
func (s *session) acceptError(err error) error {
	return disconnected("cannot pick up the capability from %s: %v", s.peer.Short(), err)
}

// resolveToThirdParty: the promise that refs stand for, one at least, is hosted by a third party. The application
// still holds it, so it is accepted at once, and embargoed.
func (s *session) resolveToThirdParty(id uint32, refs []*reference, d rpc.CapDescriptor) error {
	c, err := s.readContact(d)
	if err != nil {
		return err
	}
	for i, ref := range refs {
		mine := c
		if i > 0 {
			mine = c.again()
		}
		s.emit(acceptPromise{ref, mine, wireTarget{id: id}})
	}
	return nil
}

// acceptResult is a client for a capability of a third party in results on which something was pipelined:
// accepted at once, with an embargo; the Disembargo goes to the vine, for there is no promise.
func (s *session) acceptResult(d rpc.CapDescriptor) (capnp.Client, error) {
	c, err := s.readContact(d)
	if err != nil {
		return capnp.Client{}, err
	}
	t := must(d.ThirdPartyHosted())
	client, ref := s.vat.newReference(nil, true)
	ref.keepBack()
	s.emit(acceptPromise{ref, c, wireTarget{id: t.VineId()}})
	return client, nil
}

// acceptPromise is acceptAt as an effect.
type acceptPromise struct {
	ref        *reference
	c          *contact
	disembargo wireTarget
}

func (e acceptPromise) apply(*session) {
	if !e.ref.acceptAt(e.c, e.disembargo) {
		e.c.drop()
	}
}

func (e acceptPromise) discard(_ *session, why error) {
	e.ref.breakWith(why)
	e.c.drop()
}

// acceptAt moves r to an embargoed Accept of c, and sends the Disembargo to where disembargo says: through the
// mailbox of the introducer's session, behind calls on the old road that wait in it.
func (r *reference) acceptAt(c *contact, disembargo wireTarget) bool {
	return r.moveTo(func() road {
		embargo := r.vat.newNonce()
		c.from.tellDisembargo(&askDisembargo{target: disembargo, accept: embargo[:], leaves: r.born})
		id := embargo[:]
		if r.vat.breaks(hook.AcceptEmbargo) {
			id = nil
		}
		q, to := c.accept(r, id)
		r.vine, r.accepting = c.vine, q
		if to == nil {
			return nil
		}
		held := r.held
		r.held = nil
		for _, p := range held {
			to.put(p.parcel)
		}
		to.wake()
		return to
	})
}
