package vat

import (
	"encoding/binary"

	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// What the peers of a fuzz test do to forward calls, in worlds whose first byte says that they do.

const fuzzForwards = 192

// A fuzzForward is a call of the vat's that one peer has forwarded to the other, or would have: the Return and the
// ThirdPartyAnswer come in either order, or one of them does not.
type fuzzForward struct {
	by, of          *fuzzPeer
	nonce           []byte
	told, announced bool
}

// freshNonce is one that nobody has used.
func (w *fuzzWorld) freshNonce() []byte {
	n := make([]byte, 16)
	w.peers[0].fresh++
	binary.BigEndian.PutUint32(n[4:], w.peers[0].fresh)
	return n
}

// forwarded is one of those that ok is true of, or a new one.
func (w *fuzzWorld) forwarded(by, of *fuzzPeer, ok func(*fuzzForward) bool) *fuzzForward {
	for _, f := range w.awaited {
		if f.by == by && f.of == of && ok(f) && w.next(4) > 0 {
			return f
		}
	}
	f := &fuzzForward{by: by, of: of, nonce: w.freshNonce()}
	w.awaited = append(w.awaited, f)
	return f
}

// forward may have the results of c sent to the other peer, and may let it be forwarded.
func (w *fuzzWorld) forward(p *fuzzPeer, c rpc.Call) bool {
	c.SetAllowThirdPartyTailCall(w.next(4) > 0)
	if w.next(3) > 0 {
		return false
	}
	await := must(transport.NewToAwait(c.Segment()))
	check(id2(p.other).Encode(must(await.NewRecipient())))
	n := w.freshNonce()
	if !w.lawful {
		n = w.nonce()
	}
	check(await.SetNonce(n))
	check(c.SendResultsTo().SetThirdParty(await.ToPtr()))
	return true
}

// announce has p answer a call that the other has forwarded, or that p itself has and takes back.
func (w *fuzzWorld) announce(p *fuzzPeer) {
	by := p.other
	if w.next(4) == 0 {
		by = p
	}
	f := w.forwarded(by, p, func(f *fuzzForward) bool { return !f.announced })
	f.announced = true
	id := uint32(firstAnnounced)
	for p.ours[id] != nil {
		id++
	}
	p.ours[id] = &fuzzOurs{kind: rpc.Message_Which_call}
	w.says(p, frameOf(func(m rpc.Message) {
		t := must(m.NewThirdPartyAnswer())
		t.SetAnswerId(w.bent(id))
		what := transport.Introduced{Host: w.v.ID(), Introducer: id2(by), Recipient: id2(p)}
		copy(what.Nonce[:], f.nonce)
		if !w.lawful && w.next(4) == 0 {
			what.Recipient = id2(p.other)
			what = must(what.Forward(id2(p), func([]byte) []byte { return nil }))
		}
		check(t.SetCompletion(completion(t.Segment(), what).ToPtr()))
	}))
}

// elsewhere may fill the Return of a call of the vat's in without results: they have gone where the vat wanted them, or
// come from the other peer.
func (w *fuzzWorld) elsewhere(p *fuzzPeer, q *fuzzOurs, r rpc.Return) bool {
	switch {
	case q.kind != rpc.Message_Which_call:
		return false
	case q.elsewhere && w.next(2) == 0:
		r.SetResultsSentElsewhere()
		return true
	case w.next(3) > 0:
		return false
	}
	f := w.forwarded(p, p.other, func(f *fuzzForward) bool { return !f.told })
	f.told = true
	await := must(transport.NewToAwait(r.Segment()))
	check(id2(p.other).Encode(must(await.NewRecipient())))
	check(await.SetNonce(f.nonce))
	check(r.SetAwaitFromThirdParty(await.ToPtr()))
	return true
}
