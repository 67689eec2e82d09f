package vat

import (
	"fmt"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// A fuzzPeer is the other end of a session in a fuzz test: what it has been told and has said, by the rules of rpc.capnp
// and no other knowledge. It objects to what the vat must not say.
type fuzzPeer struct {
	name  string
	s     *session
	other *fuzzPeer
	asked map[uint32]*fuzzAsked // its questions
	ours  map[uint32]*fuzzOurs  // the vat's
	held  map[uint32]*fuzzHeld  // what the vat exports to it
	given map[uint32]*fuzzGiven // what it exports to the vat
	loops []fuzzLoop            // Disembargoes of the vat's that it owes an echo
	echo  map[uint32]bool       // its own, not echoed yet
	fresh uint32                // the last id that it has given away
	wrong []string              // what the vat has said and must not have
	over  bool
	note  func(m rpc.Message)
}

type (
	fuzzAsked struct {
		returned, finished bool
		provide, yourself  bool
		whole              bool     // its result is a capability, not a struct
		results            []uint32 // exports that came in its results
		back               bool     // its result is the peer's own
	}
	fuzzOurs struct {
		kind               rpc.Message_Which
		returned, finished bool
		elsewhere          bool // its results are to go to the other peer, or to stay
	}
	fuzzHeld struct {
		refs                           uint32
		promise, resolved, back, third bool
	}
	fuzzGiven struct {
		refs              uint32
		promise, resolved bool
	}
	fuzzLoop struct {
		target wireTarget
		id     uint32
	}
)

func newFuzzPeer(v *Vat, name string) *fuzzPeer {
	p := &fuzzPeer{name: name, asked: map[uint32]*fuzzAsked{}, ours: map[uint32]*fuzzOurs{}, held: map[uint32]*fuzzHeld{},
		given: map[uint32]*fuzzGiven{}, echo: map[uint32]bool{}}
	p.s = newSession(v, id(name), plainHost{})
	p.s.queue = actors.NewQueue(byHand{})
	p.s.wire = p
	p.s.hello.Store(&transport.Hello{ID: id(name), Features: transport.AllFeatures})
	v.mu.Lock()
	v.sessions[id(name)] = p.s
	v.mu.Unlock()
	return p
}

func (p *fuzzPeer) object(format string, args ...any) {
	p.wrong = append(p.wrong, p.name+": "+fmt.Sprintf(format, args...))
}

func (p *fuzzPeer) abort(m rpc.Message) {}
func (p *fuzzPeer) node() Node          { return Node{} }

// send implements wire: what the vat says.
func (p *fuzzPeer) send(msg *capnp.Message) (kept bool) {
	m := must(rpc.ReadRootMessage(msg))
	p.note(m)
	switch m.Which() {
	case rpc.Message_Which_call:
		c := must(m.Call())
		p.ask(m, c.QuestionId())
		p.ours[c.QuestionId()].elsewhere = c.SendResultsTo().Which() != rpc.Call_sendResultsTo_Which_caller
		p.target(must(c.Target()))
		p.caps(must(c.Params()))
	case rpc.Message_Which_provide:
		p.ask(m, must(m.Provide()).QuestionId())
		p.target(must(must(m.Provide()).Target()))
	case rpc.Message_Which_accept:
		p.ask(m, must(m.Accept()).QuestionId())
	case rpc.Message_Which_return:
		p.returned(must(m.Return()))
	case rpc.Message_Which_finish:
		q := p.ours[must(m.Finish()).QuestionId()]
		if q == nil || q.finished {
			p.object("Finish of %d", must(m.Finish()).QuestionId())
			break
		}
		if q.finished = true; q.returned {
			delete(p.ours, must(m.Finish()).QuestionId())
		}
	case rpc.Message_Which_resolve:
		p.resolved(must(m.Resolve()))
	case rpc.Message_Which_release:
		r := must(m.Release())
		g := p.given[r.Id()]
		if g == nil || g.refs < r.ReferenceCount() {
			p.object("Release of %d by %d", r.Id(), r.ReferenceCount())
			break
		}
		if g.refs -= r.ReferenceCount(); g.refs == 0 {
			delete(p.given, r.Id())
		}
	case rpc.Message_Which_disembargo:
		p.disembargoed(must(m.Disembargo()))
	case rpc.Message_Which_thirdPartyAnswer:
		id := must(m.ThirdPartyAnswer()).AnswerId()
		if !isAnnounced(id) || p.asked[id] != nil {
			p.object("ThirdPartyAnswer %d", id)
		}
		p.asked[id] = &fuzzAsked{}
	case rpc.Message_Which_unimplemented:
	default:
		p.object("%v", m.Which())
	}
	return false
}

func (p *fuzzPeer) ask(m rpc.Message, id uint32) {
	if p.ours[id] != nil {
		p.object("question %d asked twice", id)
	}
	p.ours[id] = &fuzzOurs{kind: m.Which()}
}

func (p *fuzzPeer) target(t rpc.MessageTarget) {
	if t.Which() == rpc.MessageTarget_Which_importedCap {
		if p.given[t.ImportedCap()] == nil {
			p.object("message for %d, which it does not hold", t.ImportedCap())
		}
		return
	}
	if q := p.ours[must(t.PromisedAnswer()).QuestionId()]; q == nil || q.finished {
		p.object("message for the answer of %d, which is over", must(t.PromisedAnswer()).QuestionId())
	}
}

// caps counts what a payload hands over, and returns the exports, and whether the first is the peer's own.
func (p *fuzzPeer) caps(payload rpc.Payload) (exports []uint32, back bool) {
	if !payload.IsValid() {
		return nil, false
	}
	list := must(payload.CapTable())
	for i := range list.Len() {
		if id, ok := p.cap(list.At(i)); ok {
			exports = append(exports, id)
		}
		back = back || i == 0 && list.At(i).Which() == rpc.CapDescriptor_Which_receiverHosted
	}
	return exports, back
}

func (p *fuzzPeer) cap(d rpc.CapDescriptor) (uint32, bool) {
	id, ok := exportIn(d)
	if ok {
		h := p.held[id]
		if h == nil {
			h = &fuzzHeld{promise: d.Which() == rpc.CapDescriptor_Which_senderPromise, third: d.Which() == rpc.CapDescriptor_Which_thirdPartyHosted}
			p.held[id] = h
		}
		if h.promise != (d.Which() == rpc.CapDescriptor_Which_senderPromise) && !h.resolved {
			p.object("export %d is a promise, and then not", id)
		}
		h.refs++
	}
	if d.Which() == rpc.CapDescriptor_Which_receiverHosted && p.given[d.ReceiverHosted()] == nil {
		p.object("receiverHosted %d, which it does not hold", d.ReceiverHosted())
	}
	return id, ok
}

func (p *fuzzPeer) returned(r rpc.Return) {
	q := p.asked[r.AnswerId()]
	if q == nil || q.returned {
		p.object("Return of %d", r.AnswerId())
		return
	}
	q.returned = true
	if r.Which() == rpc.Return_Which_results {
		q.results, q.back = p.caps(must(r.Results()))
	}
	if q.finished {
		delete(p.asked, r.AnswerId())
	}
}

func (p *fuzzPeer) resolved(r rpc.Resolve) {
	h := p.held[r.PromiseId()]
	if h == nil || !h.promise || h.resolved {
		p.object("Resolve of %d", r.PromiseId())
		return
	}
	h.resolved = true
	if r.Which() == rpc.Resolve_Which_cap {
		d := must(r.Cap())
		p.cap(d)
		h.back = d.Which() == rpc.CapDescriptor_Which_receiverHosted
		h.third = d.Which() == rpc.CapDescriptor_Which_thirdPartyHosted
	}
}

func (p *fuzzPeer) disembargoed(d rpc.Disembargo) {
	switch ctx := d.Context(); ctx.Which() {
	case rpc.Disembargo_context_Which_senderLoopback:
		target := must(decodeTarget(d.Target()))
		p.target(must(d.Target()))
		p.loops = append(p.loops, fuzzLoop{target, ctx.SenderLoopback()})
	case rpc.Disembargo_context_Which_receiverLoopback:
		if !p.echo[ctx.ReceiverLoopback()] {
			p.object("echo of %d", ctx.ReceiverLoopback())
		}
		delete(p.echo, ctx.ReceiverLoopback())
	}
}
