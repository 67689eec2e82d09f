package sim

import (
	"fmt"

	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/simapi"
)

// line is one message, for -sim.trace.
func line(at string, e vat.TapEvent) string {
	way := "<-"
	if e.Out {
		way = "->"
	}
	return fmt.Sprintf("%s %s %s %s", at, way, e.Peer.Name, describe(e.Message))
}

func describe(m rpc.Message) string {
	switch m.Which() {
	case rpc.Message_Which_bootstrap:
		b, _ := m.Bootstrap()
		return fmt.Sprintf("bootstrap %d", b.QuestionId())
	case rpc.Message_Which_call:
		c, _ := m.Call()
		t, _ := c.Target()
		p, _ := c.Params()
		return fmt.Sprintf("call %d on %s %s %s results to %v", c.QuestionId(), target(t), method(c, p), caps(p), c.SendResultsTo().Which())
	case rpc.Message_Which_return:
		r, _ := m.Return()
		s := fmt.Sprintf("return %d %v release params %v", r.AnswerId(), r.Which(), r.ReleaseParamCaps())
		if r.Which() == rpc.Return_Which_results {
			p, _ := r.Results()
			s += caps(p)
		}
		if r.Which() == rpc.Return_Which_exception {
			x, _ := r.Exception()
			why, _ := x.Reason()
			s += " " + why
		}
		if r.Which() == rpc.Return_Which_awaitFromThirdParty {
			to, _ := r.AwaitFromThirdParty()
			nonce, _ := transport.ToAwait(to.Struct()).Nonce()
			s += fmt.Sprintf(" %.3x", nonce)
		}
		return s
	case rpc.Message_Which_thirdPartyAnswer:
		a, _ := m.ThirdPartyAnswer()
		p, _ := a.Completion()
		nonce, _ := transport.ToComplete(p.Struct()).Nonce()
		return fmt.Sprintf("third party answer %d %.3x", a.AnswerId(), nonce)
	case rpc.Message_Which_finish:
		f, _ := m.Finish()
		return fmt.Sprintf("finish %d", f.QuestionId())
	case rpc.Message_Which_release:
		r, _ := m.Release()
		return fmt.Sprintf("release %d by %d", r.Id(), r.ReferenceCount())
	case rpc.Message_Which_resolve:
		r, _ := m.Resolve()
		s := fmt.Sprintf("resolve %d %v", r.PromiseId(), r.Which())
		if r.Which() == rpc.Resolve_Which_cap {
			c, _ := r.Cap()
			s += descriptor(c)
		}
		return s
	case rpc.Message_Which_disembargo:
		d, _ := m.Disembargo()
		t, _ := d.Target()
		s := fmt.Sprintf("disembargo %s %v", target(t), d.Context().Which())
		switch ctx := d.Context(); ctx.Which() {
		case rpc.Disembargo_context_Which_senderLoopback:
			s += fmt.Sprint(" ", ctx.SenderLoopback())
		case rpc.Disembargo_context_Which_receiverLoopback:
			s += fmt.Sprint(" ", ctx.ReceiverLoopback())
		}
		return s
	case rpc.Message_Which_provide:
		p, _ := m.Provide()
		t, _ := p.Target()
		to, _ := p.Recipient()
		nonce, _ := transport.ToAwait(to.Struct()).Nonce()
		return fmt.Sprintf("provide %d %s %.3x", p.QuestionId(), target(t), nonce)
	case rpc.Message_Which_accept:
		a, _ := m.Accept()
		p, _ := a.Provision()
		nonce, _ := transport.ToComplete(p.Struct()).Nonce()
		return fmt.Sprintf("accept %d %.3x embargo %v", a.QuestionId(), nonce, a.HasEmbargo())
	case rpc.Message_Which_abort:
		a, _ := m.Abort()
		why, _ := a.Reason()
		return "abort " + why
	}
	return m.Which().String()
}

// method names the method of a call, and of a note what is noted.
func method(c rpc.Call, p rpc.Payload) string {
	if c.MethodId() != 0 {
		return fmt.Sprintf("method %d", c.MethodId())
	}
	content, _ := p.Content()
	n := simapi.Node_note_Params(content.Struct())
	return fmt.Sprintf("note %d.%d", n.Ref(), n.Seq())
}

func target(t rpc.MessageTarget) string {
	if t.Which() == rpc.MessageTarget_Which_importedCap {
		return fmt.Sprintf("export %d", t.ImportedCap())
	}
	a, _ := t.PromisedAnswer()
	return fmt.Sprintf("answer %d", a.QuestionId())
}

func caps(p rpc.Payload) string {
	s := ""
	list, _ := p.CapTable()
	for i := range list.Len() {
		s += descriptor(list.At(i))
	}
	return s
}

func descriptor(d rpc.CapDescriptor) string {
	switch d.Which() {
	case rpc.CapDescriptor_Which_senderHosted:
		return fmt.Sprintf(" hosted %d", d.SenderHosted())
	case rpc.CapDescriptor_Which_senderPromise:
		return fmt.Sprintf(" promise %d", d.SenderPromise())
	case rpc.CapDescriptor_Which_receiverHosted:
		return fmt.Sprintf(" receiver %d", d.ReceiverHosted())
	case rpc.CapDescriptor_Which_thirdPartyHosted:
		t, _ := d.ThirdPartyHosted()
		id, _ := t.Id()
		to := transport.ToContact(id.Struct())
		host, _ := to.Host()
		v, _ := transport.DecodeVatID(host)
		nonce, _ := to.Nonce()
		return fmt.Sprintf(" at %s %.3x vine %d", v, nonce, t.VineId())
	}
	return " " + d.Which().String()
}
