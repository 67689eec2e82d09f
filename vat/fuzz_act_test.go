package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// What the peers of a fuzz test do, each thing by the rules, unless the world is lawless: ids are wrong then now and then.

func (w *fuzzWorld) act(p *fuzzPeer) {
	if w.forwards && w.next(6) == 0 {
		w.announce(p)
		return
	}
	switch w.next(16) {
	case 0:
		id := w.newQuestion(p, &fuzzAsked{whole: true})
		w.says(p, msgBootstrap(id))
	case 1, 2, 3, 4:
		w.call(p)
	case 5, 6:
		if id, q, ok := pick(w, p.ours, func(q *fuzzOurs) bool { return !q.returned }); ok {
			w.returns(p, id, q, w.next(4))
		}
	case 7:
		if id, q, ok := pick(w, p.asked, func(q *fuzzAsked) bool { return !q.finished }); ok {
			w.finish(p, id, q, w.next(2) == 0 && w.once(q.results, p))
		}
	case 8:
		if id, h, ok := pick(w, p.held, func(*fuzzHeld) bool { return true }); ok {
			w.release(p, w.bent(id), 1+uint32(w.next(int(h.refs))))
		}
	case 9, 10:
		w.resolve(p)
	case 11:
		if n := len(p.loops); n > 0 {
			l := p.loops[0]
			p.loops = p.loops[1:]
			w.says(p, disembargoFrame(l.target, func(c rpc.Disembargo_context) { c.SetReceiverLoopback(w.bent(l.id)) }))
		}
	case 12:
		w.disembargo(p)
	case 13:
		w.provide(p)
	case 14:
		w.accept(p)
	case 15:
		w.object.let <- struct{}{}
	}
}

// bent is id, or in a lawless world sometimes another.
func (w *fuzzWorld) bent(id uint32) uint32 {
	if !w.lawful && w.next(6) == 0 {
		return id ^ 1<<w.next(32)
	}
	return id
}

// once says whether p still holds each of the exports, as often as they are named.
func (w *fuzzWorld) once(exports []uint32, p *fuzzPeer) bool {
	count := map[uint32]uint32{}
	for _, id := range exports {
		if count[id]++; p.held[id] == nil || p.held[id].refs < count[id] {
			return false
		}
	}
	return true
}

func (w *fuzzWorld) newQuestion(p *fuzzPeer, q *fuzzAsked) uint32 {
	id := uint32(0)
	for p.asked[id] != nil {
		id++
	}
	p.asked[id] = q
	return w.bent(id)
}

// target is something that the vat has for p.
func (w *fuzzWorld) target(p *fuzzPeer) (t wireTarget, ok bool) {
	if w.next(2) == 0 {
		id, q, ok := pick(w, p.asked, func(q *fuzzAsked) bool { return !q.finished && !q.provide })
		if ok {
			t = wireTarget{onAnswer: true, id: w.bent(id)}
			if !q.whole {
				t.path = []capnp.PipelineOp{{Field: uint16(w.next(2))}}
			}
			return t, true
		}
	}
	id, _, ok := pick(w, p.held, func(*fuzzHeld) bool { return true })
	return wireTarget{id: w.bent(id)}, ok
}

var fuzzMethods = []uint16{0, 1, 2, 3, 3, 4, 4, 5, 6, 8, 8, 9, 9, 42}

func (w *fuzzWorld) call(p *fuzzPeer) {
	to, ok := w.target(p)
	if !ok {
		return
	}
	q := &fuzzAsked{}
	id := w.newQuestion(p, q)
	w.says(p, frameOf(func(m rpc.Message) {
		c := must(m.NewCall())
		c.SetQuestionId(id)
		to.encode(must(c.NewTarget()))
		c.SetInterfaceId(testapi.Probe_TypeID)
		c.SetMethodId(fuzzMethods[w.next(len(fuzzMethods))])
		w.payload(p, must(c.NewParams()), false)
		if w.forwards && w.forward(p, c) {
			return
		}
		switch w.next(8) {
		case 0:
			c.SendResultsTo().SetYourself()
			q.yourself = true
		case 1:
			await := must(transport.NewToAwait(c.Segment()))
			check(id2(p.other).Encode(must(await.NewRecipient())))
			kept := must(await.NewResults(1)).At(0)
			check(kept.SetNonce(w.nonce()))
			must(kept.NewPath(1)).Set(0, 0)
			check(c.SendResultsTo().SetThirdParty(await.ToPtr()))
		}
	}))
}

func id2(p *fuzzPeer) transport.VatID { return id(p.name) }

// payload has a capability, or none: in the first field of a struct, or as a whole.
func (w *fuzzWorld) payload(p *fuzzPeer, to rpc.Payload, whole bool) {
	null := w.next(4) == 0
	if !null {
		w.describe(p, must(to.NewCapTable(1)).At(0))
	}
	if whole {
		if !null {
			check(to.SetContent(capnp.NewInterface(to.Segment(), 0).ToPtr()))
		}
		return
	}
	content := must(capnp.NewStruct(to.Segment(), capnp.ObjectSize{DataSize: 8, PointerCount: 1}))
	if !null {
		check(content.SetPtr(0, capnp.NewInterface(to.Segment(), 0).ToPtr()))
	}
	check(to.SetContent(content.ToPtr()))
}

// describe names a capability to the vat.
func (w *fuzzWorld) describe(p *fuzzPeer, d rpc.CapDescriptor) {
	switch w.next(8) {
	case 0, 1:
		d.SetSenderHosted(w.give(p, false))
	case 2, 3:
		d.SetSenderPromise(w.give(p, true))
	case 4, 5:
		if id, _, ok := pick(w, p.held, func(*fuzzHeld) bool { return true }); ok {
			d.SetReceiverHosted(w.bent(id))
		}
	case 6:
		if id, _, ok := pick(w, p.asked, func(q *fuzzAsked) bool { return !q.finished && !q.provide && !q.whole }); ok {
			a := must(d.NewReceiverAnswer())
			a.SetQuestionId(w.bent(id))
			must(a.NewTransform(1)).At(0).SetGetPointerField(0)
		}
	case 7:
		t := must(d.NewThirdPartyHosted())
		t.SetVineId(w.give(p, false))
		contact := must(transport.NewToContact(t.Segment()))
		host := id2(p.other)
		if w.next(4) == 0 {
			host = w.v.ID()
		}
		check(host.Encode(must(contact.NewHost())))
		check(contact.SetNonce(w.nonce()))
		contact.SetMayForward(w.next(2) == 0)
		check(t.SetId(contact.ToPtr()))
	}
}

// give is an export of p's, new or not, counted once more.
func (w *fuzzWorld) give(p *fuzzPeer, promise bool) uint32 {
	id, g, ok := pick(w, p.given, func(g *fuzzGiven) bool { return g.promise == promise && !g.resolved })
	if !ok || w.next(2) == 0 {
		p.fresh++
		id, g = p.fresh, &fuzzGiven{promise: promise}
		p.given[id] = g
	}
	g.refs++
	return w.bent(id)
}

// nonce is one of a few, so that they meet.
func (w *fuzzWorld) nonce() []byte {
	n := make([]byte, 16)
	n[0] = byte(w.next(4))
	return n
}

// returns answers a question of the vat's: 0 with an exception.
func (w *fuzzWorld) returns(p *fuzzPeer, id uint32, q *fuzzOurs, how int) {
	q.returned = true
	if q.finished {
		delete(p.ours, id)
	}
	m, r := msgReturn(w.bent(id))
	r.SetReleaseParamCaps(false)
	if w.forwards && w.elsewhere(p, q, r) {
		w.says(p, m)
		return
	}
	mine, hers, take := uint32(0), (*fuzzAsked)(nil), false
	if how == 1 && q.kind == rpc.Message_Which_call {
		mine, hers, take = pick(w, p.asked, func(a *fuzzAsked) bool { return a.yourself && !a.finished })
	}
	switch {
	case how == 0:
		check(setException(must(r.NewException()), failed("no")))
	case take:
		hers.yourself = false
		r.SetTakeFromOtherQuestion(mine)
	case q.kind == rpc.Message_Which_provide:
		must(r.NewResults())
	default:
		w.payload(p, must(r.NewResults()), q.kind == rpc.Message_Which_accept)
	}
	w.says(p, m)
}

func (w *fuzzWorld) resolve(p *fuzzPeer) {
	id, g, ok := pick(w, p.given, func(g *fuzzGiven) bool { return g.promise && !g.resolved })
	if !ok {
		return
	}
	g.resolved = true
	w.says(p, resolveFrame(w.bent(id), func(d rpc.CapDescriptor) { w.describe(p, d) }))
}

// disembargo asks for an echo, of what has resolved to p's own; or lifts an embargo.
func (w *fuzzWorld) disembargo(p *fuzzPeer) {
	if w.next(2) == 0 {
		if id, _, ok := pick(w, p.asked, func(q *fuzzAsked) bool { return q.provide && !q.finished }); ok {
			w.says(p, disembargoFrame(wireTarget{onAnswer: true, id: w.bent(id)}, func(c rpc.Disembargo_context) { check(c.SetAccept(w.nonce()[:1])) }))
		} else if id, _, ok := pick(w, p.held, func(h *fuzzHeld) bool { return h.third }); ok {
			w.says(p, disembargoFrame(wireTarget{id: w.bent(id)}, func(c rpc.Disembargo_context) { check(c.SetAccept(w.nonce()[:1])) }))
		}
		return
	}
	target := wireTarget{}
	if id, _, ok := pick(w, p.held, func(h *fuzzHeld) bool { return h.back }); ok {
		target.id = w.bent(id)
	} else if id, q, ok := pick(w, p.asked, func(q *fuzzAsked) bool { return q.back && q.returned && !q.finished }); ok {
		if target = (wireTarget{onAnswer: true, id: w.bent(id)}); !q.whole {
			target.path = []capnp.PipelineOp{{}}
		}
	} else {
		return
	}
	p.fresh++
	p.echo[p.fresh] = true
	w.says(p, disembargoFrame(target, func(c rpc.Disembargo_context) { c.SetSenderLoopback(p.fresh) }))
}

func (w *fuzzWorld) provide(p *fuzzPeer) {
	to, ok := w.target(p)
	if !ok {
		return
	}
	id := w.newQuestion(p, &fuzzAsked{provide: true})
	w.says(p, frameOf(func(m rpc.Message) {
		x := must(m.NewProvide())
		x.SetQuestionId(id)
		to.encode(must(x.NewTarget()))
		await := must(transport.NewToAwait(x.Segment()))
		check(id2(w.peers[w.next(2)]).Encode(must(await.NewRecipient())))
		check(await.SetNonce(w.nonce()))
		check(x.SetRecipient(await.ToPtr()))
	}))
}

func (w *fuzzWorld) accept(p *fuzzPeer) {
	what := transport.Introduced{Host: w.v.ID(), Introducer: id2(w.peers[w.next(2)]), Recipient: id2(p)}
	what.Nonce[0] = w.nonce()[0]
	if w.next(4) == 0 {
		what.Recipient = id2(p.other)
		what = must(what.Forward(id2(p), func([]byte) []byte { return nil }))
	}
	id := w.newQuestion(p, &fuzzAsked{whole: true})
	w.says(p, frameOf(func(m rpc.Message) {
		a := must(m.NewAccept())
		a.SetQuestionId(id)
		check(a.SetProvision(completion(a.Segment(), what).ToPtr()))
		if w.next(2) == 0 {
			check(a.SetEmbargo(w.nonce()[:1]))
		}
	}))
}
