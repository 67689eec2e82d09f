package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// writeCaps writes the capability table of a payload from pins, which it takes over and which are in the order of its
// message's table, one at least, and returns the exports that it counted up, one entry for each count.
func (s *session) writeCaps(payload rpc.Payload, pins []pin) (exports []uint32) {
	list := must(payload.NewCapTable(int32(len(pins))))
	for i, p := range pins {
		d := list.At(i)
		s.describe(d, p)
		if id, ok := exportIn(d); ok {
			exports = append(exports, id)
		}
	}
	return exports
}

func exportIn(d rpc.CapDescriptor) (uint32, bool) {
	switch d.Which() {
	case rpc.CapDescriptor_Which_senderHosted:
		return d.SenderHosted(), true
	case rpc.CapDescriptor_Which_senderPromise:
		return d.SenderPromise(), true
	case rpc.CapDescriptor_Which_thirdPartyHosted:
		return must(d.ThirdPartyHosted()).VineId(), true
	}
	return 0, false
}

// describe names the capability of p, which it takes over, to the peer.
func (s *session) describe(d rpc.CapDescriptor, p pin) {
	p = s.told(p)
	s.describeAs(d, p, p.road, p, nil)
}

// describeAs is describe, where calls on the vine, if there is to be one, go along via, which vine pins; and
// intro, if not nil, is an introduction that was made already. It returns the introduction, if one was used.
func (s *session) describeAs(d rpc.CapDescriptor, p pin, via road, vine pin, intro *introduction) *introduction {
	switch to := p.road.(type) {
	case answerRoad:
		// A part of results that are not here, or are by now: promised, or named.
		again := s.vat.pinPart(to)
		s.freeLater(p)
		if _, same := via.(answerRoad); same {
			via, vine = again.road, again
		}
		return s.describeAs(d, again, via, vine, nil)
	case fixedRef:
		if to.r.settled() {
			again := to.r.resolvedTo()
			s.freeLater(p)
			if _, same := via.(fixedRef); same {
				via, vine = again.road, again
			}
			return s.describeAs(d, again, via, vine, intro)
		}
	case brokenRoad:
		if !p.snap.IsValid() {
			d.SetNone()
			return nil
		}
		d.SetSenderPromise(s.addBroken(p, to.err))
		return nil
	case *importRef:
		if to.s == s {
			d.SetReceiverHosted(to.id)
			s.freeLater(p) // the peer has this before our Release, if there is one, for it goes first
			return nil
		}
		if intro == nil {
			if intro = s.introductionOf(p); intro != nil {
				s.emit((*postIntroduction)(intro))
			}
		}
	}
	if intro != nil {
		s.describeThirdParty(d, via, vine.again(), intro)
		s.freeLater(p)
		return intro
	}
	s.describeOwn(d, p)
	return nil
}

// describeOwn exports p: it is hosted here, or stands for what cannot be named to the peer yet, or ever.
func (s *session) describeOwn(d rpc.CapDescriptor, p pin) {
	key := p.snap.Metadata()
	switch to := p.road.(type) {
	case *promise:
		d.SetSenderPromise(s.addPromise(p, key, &watcher{promise: to}))
		return
	case fixedRef:
		to.hold()
		d.SetSenderPromise(s.addPromise(p, key, &watcher{ref: to.r}))
		return
	case *object:
		key = to.hook
	case *importRef:
		if to.left.Load() {
			key = nil // another export of the same may be a promise, which goes on from there
		}
	}
	s.describeSettled(d, p, key)
}

// describeSettled exports what will not resolve. Where it is exported as a promise still, its Resolve is owed: the
// peer may have released that, and a Resolve for what it was told is settled would be a fault.
func (s *session) describeSettled(d rpc.CapDescriptor, p pin, key *capnp.Metadata) {
	id := s.addExport(p, key)
	promise := false
	s.exports.visit(id, func(e *export) { promise = e.watch != nil })
	if promise {
		d.SetSenderPromise(id)
		return
	}
	d.SetSenderHosted(id)
}

// describeThirdParty tells the peer where to find the capability, and gives it the vine.
func (s *session) describeThirdParty(d rpc.CapDescriptor, via road, vine pin, intro *introduction) {
	id := s.addExport(vine, nil)
	s.exports.visit(id, func(e *export) { e.road, e.intro, e.vine = via, intro, true })
	t := must(d.NewThirdPartyHosted())
	t.SetVineId(id)
	contact := must(transport.NewToContact(t.Segment()))
	check(intro.Host.Encode(must(contact.NewHost())))
	contact.SetMayForward(intro.mayForward)
	contact.SetOfCall(intro.ofCall)
	if len(intro.Forwards) > 0 {
		check(intro.Introducer.Encode(must(contact.NewIntroducer())))
		check(intro.Recipient.Encode(must(contact.NewRecipient())))
		check(intro.EncodeForwards(contact.NewForwards))
	}
	addrs := must(contact.NewAddresses(int32(len(intro.addresses))))
	for i, a := range intro.addresses {
		check(addrs.Set(i, a))
	}
	check(contact.SetNonce(intro.Nonce[:]))
	check(t.SetId(contact.ToPtr()))
}

// addBroken exports a broken capability: "create a new export (senderPromise) for each broken capability and
// then immediately follow the payload-bearing message with one Resolve message".
func (s *session) addBroken(p pin, err error) uint32 {
	id := s.addExport(p, nil)
	s.exports.visit(id, func(e *export) { e.resolved = true })
	s.broken = append(s.broken, brokenExport{id, err})
	return id
}

type brokenExport struct {
	id  uint32
	err error
}

// flushBroken sends the Resolves that addBroken owes, behind the message that carried them.
func (s *session) flushBroken() {
	for _, b := range s.broken {
		m := newMessage()
		r := must(m.NewResolve())
		r.SetPromiseId(b.id)
		check(setException(must(r.NewException()), b.err))
		s.send(m)
	}
	s.broken = nil
}

// readPayload makes clients for the capabilities of a payload and puts them into the table of its message,
// which releases them.
func (s *session) readPayload(p rpc.Payload, client func(i int, d rpc.CapDescriptor) (capnp.Client, error)) error {
	if !p.HasCapTable() {
		return nil // and perhaps no payload: there may be no message either
	}
	list, err := p.CapTable()
	if err != nil {
		return fault("unreadable capability table: %v", err)
	}
	if max := s.vat.limits.Capabilities; list.Len() > max {
		return s.faultLimit("Capabilities", max)
	}
	table := p.Message().CapTable()
	for i := range list.Len() {
		c, err := client(i, list.At(i))
		if err != nil {
			return err
		}
		table.Add(c)
	}
	return nil
}

// readCap makes a client for one capability that the peer sent. The caller releases it.
func (s *session) readCap(d rpc.CapDescriptor) (capnp.Client, error) {
	switch d.Which() {
	case rpc.CapDescriptor_Which_none:
		return capnp.Client{}, nil
	case rpc.CapDescriptor_Which_senderHosted:
		return s.importCap(d.SenderHosted(), false)
	case rpc.CapDescriptor_Which_senderPromise:
		return s.importCap(d.SenderPromise(), true)
	case rpc.CapDescriptor_Which_receiverHosted, rpc.CapDescriptor_Which_receiverAnswer:
		p, err := s.ownPin(d)
		c := p.client()
		s.vat.freeLater(&p) // not as an effect: the turn may fail
		return c, err
	case rpc.CapDescriptor_Which_thirdPartyHosted:
		if !s.has(transport.FeatureHandoff) {
			return s.importVine(d)
		}
		c, err := s.readContact(d)
		if err != nil {
			return capnp.Client{}, err
		}
		return c.client(), nil
	}
	// "A capability of a kind that we do not know" can at least be called, and says so.
	return capnp.ErrorClient(unimplemented("capability descriptor of unknown kind %d", d.Which())), nil
}

// ownPin is where calls go that come back from the peer to what it names as hosted here: by one of our exports, or
// answers. The caller frees it.
func (s *session) ownPin(d rpc.CapDescriptor) (to pin, _ error) {
	if d.Which() == rpc.CapDescriptor_Which_receiverHosted {
		id := d.ReceiverHosted()
		if !s.exports.visit(id, func(e *export) { to = pin{e.pin.snap, e.road}.again() }) {
			return to, fault("capability receiverHosted %d, which is not exported", id)
		}
		return to, nil
	}
	pa, err := d.ReceiverAnswer()
	if err != nil {
		return to, fault("unreadable receiverAnswer: %v", err)
	}
	path, err := decodePath(pa)
	if err != nil {
		return to, err
	}
	return s.answerPin(pa.QuestionId(), path)
}

// readResult makes a result of a payload. What was pipelined on the question may still be under way to the
// peer: a capability that is not the peer's own comes behind an embargo then.
func (s *session) readResult(p rpc.Payload, q *questionRef, pipelined [][]capnp.PipelineOp) (result, error) {
	if !p.IsValid() {
		return result{}, nil // a null payload: results without fields, as go-capnp sends them
	}
	content, err := p.Content()
	if err != nil {
		return result{}, fault("unreadable results: %v", err)
	}
	accept, whole := false, false
	s.questions.visit(q.id, func(x *question) { accept, whole = x.accept, x.at != nil })
	var paths map[int][]capnp.PipelineOp // made if there is somebody to look
	pathTo := func(i int) (path []capnp.PipelineOp, used bool) {
		if paths == nil {
			paths = pathsTo(content, pipelined)
		}
		path, used = paths[i]
		return path, used
	}
	err = s.readPayload(p, func(i int, d rpc.CapDescriptor) (capnp.Client, error) {
		switch d.Which() {
		case rpc.CapDescriptor_Which_receiverHosted, rpc.CapDescriptor_Which_receiverAnswer:
			path, used := pathTo(i)
			if !used || s.vat.breaks(hook.Loopback) {
				return s.readCap(d)
			}
			to, err := s.ownPin(d)
			if err != nil {
				return capnp.Client{}, err
			}
			return s.embargoResult(to, q, path), nil
		case rpc.CapDescriptor_Which_thirdPartyHosted:
			_, used := pathTo(i)
			switch {
			case !s.has(transport.FeatureHandoff):
			case used:
				return s.acceptResult(d)
			case accept:
				// What was called before we were introduced may have gone on by the vine of whoever forwards this.
				c, err := s.readContact(d)
				if err != nil {
					return capnp.Client{}, err
				}
				c.usedByVine()
				return c.client(), nil
			}
		case rpc.CapDescriptor_Which_senderPromise:
			// What was pipelined on the answer went to this promise, or waits in our mailbox to do so.
			c, err := s.readCap(d)
			if i, ok := s.vat.importOf(c); ok {
				i.used.Store(true)
			}
			return c, err
		}
		return s.readCap(d)
	})
	if err != nil {
		return result{}, err
	}
	v, msg := s.vat, p.Message()
	if whole && msg.CapTable().Len() > 0 {
		// Its content is read by asWhole, and by nobody else.
		return result{content: content, release: func() { v.empty(msg); recycle(msg) }}, nil
	}
	return v.newResult(content, msg), nil
}
