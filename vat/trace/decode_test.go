package trace

import (
	"bytes"
	"encoding/json"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/schemas"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
)

// builder writes one message; its methods end the test on an error.
type builder struct {
	t   testing.TB
	msg rpc.Message
}

func (b builder) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func must[T any](b builder) func(T, error) T {
	return func(v T, err error) T {
		b.t.Helper()
		b.must(err)
		return v
	}
}

func (b builder) vat(set func() (transport.VatId, error), name string) {
	b.must(transport.VatID("plain:" + name).Encode(must[transport.VatId](b)(set())))
}

func nonce(fill byte) []byte { return bytes.Repeat([]byte{fill}, 16) }

func (b builder) answer(set func() (rpc.PromisedAnswer, error), id uint32, path ...uint16) {
	a := must[rpc.PromisedAnswer](b)(set())
	a.SetQuestionId(id)
	if path == nil {
		return
	}
	ops := must[rpc.PromisedAnswer_Op_List](b)(a.NewTransform(int32(len(path)) + 1))
	ops.At(0).SetNoop()
	for i, field := range path {
		ops.At(i + 1).SetGetPointerField(field)
	}
}

func (b builder) toAwait(recipient string, n []byte, results ...[]byte) capnp.Ptr {
	await := must[transport.ToAwait](b)(transport.NewToAwait(b.msg.Segment()))
	b.vat(await.NewRecipient, recipient)
	b.must(await.SetNonce(n))
	list := must[transport.KeptResult_List](b)(await.NewResults(int32(len(results))))
	for i, n := range results {
		b.must(list.At(i).SetNonce(n))
	}
	return await.ToPtr()
}

func (b builder) toComplete(introducer string, n []byte) capnp.Ptr {
	complete := must[transport.ToComplete](b)(transport.NewToComplete(b.msg.Segment()))
	b.vat(complete.NewIntroducer, introducer)
	b.must(complete.SetNonce(n))
	return complete.ToPtr()
}

// thirdParty describes a capability that dora hosts.
func (b builder) thirdParty(desc rpc.CapDescriptor, vine uint32) {
	third := must[rpc.ThirdPartyCapDescriptor](b)(desc.NewThirdPartyHosted())
	third.SetVineId(vine)
	contact := must[transport.ToContact](b)(transport.NewToContact(b.msg.Segment()))
	b.vat(contact.NewHost, "dora")
	b.must(contact.SetNonce(nonce(0xab)))
	b.must(third.SetId(contact.ToPtr()))
}

// kinds are messages of every kind, as their names say.
var kinds = []struct {
	name  string
	build func(b builder)
}{
	{"bootstrap", func(b builder) { must[rpc.Bootstrap](b)(b.msg.NewBootstrap()).SetQuestionId(0) }},
	{"call on an import, with a capability", func(b builder) {
		call := must[rpc.Call](b)(b.msg.NewCall())
		call.SetQuestionId(7)
		call.SetInterfaceId(threeparty.CapBla_TypeID)
		must[rpc.MessageTarget](b)(call.NewTarget()).SetImportedCap(0)
		caps := must[rpc.CapDescriptor_List](b)(must[rpc.Payload](b)(call.NewParams()).NewCapTable(4))
		caps.At(0).SetNone()
		caps.At(1).SetReceiverHosted(4)
		b.answer(caps.At(2).NewReceiverAnswer, 5, 1)
		caps.At(3).SetSenderHosted(6)
	}},
	{"call on an answer, interface unknown, results stay", func(b builder) {
		call := must[rpc.Call](b)(b.msg.NewCall())
		call.SetInterfaceId(0xdeadbeef)
		call.SetMethodId(3)
		b.answer(must[rpc.MessageTarget](b)(call.NewTarget()).NewPromisedAnswer, 0, 2, 1)
		call.SendResultsTo().SetYourself()
	}},
	{"call of a method beyond the schema, results to a third party", func(b builder) {
		call := must[rpc.Call](b)(b.msg.NewCall())
		call.SetInterfaceId(threeparty.CapBar_TypeID)
		call.SetMethodId(9)
		must[rpc.MessageTarget](b)(call.NewTarget()).SetImportedCap(1)
		b.must(call.SendResultsTo().SetThirdParty(b.toAwait("alice", nil, nonce(1), nonce(2))))
	}},
	{"return of a promise", func(b builder) {
		ret := must[rpc.Return](b)(b.msg.NewReturn())
		ret.SetReleaseParamCaps(false)
		caps := must[rpc.CapDescriptor_List](b)(must[rpc.Payload](b)(ret.NewResults()).NewCapTable(1))
		caps.At(0).SetSenderPromise(0)
	}},
	{"return of an exception", func(b builder) {
		ret := must[rpc.Return](b)(b.msg.NewReturn())
		ret.SetNoFinishNeeded(true)
		b.must(must[rpc.Exception](b)(ret.NewException()).SetReason("no bar"))
	}},
	{"return, results sent elsewhere", func(b builder) {
		must[rpc.Return](b)(b.msg.NewReturn()).SetResultsSentElsewhere()
	}},
	{"return, to be awaited from a third party", func(b builder) {
		ret := must[rpc.Return](b)(b.msg.NewReturn())
		b.must(ret.SetAwaitFromThirdParty(b.toAwait("carol", nonce(0xab))))
	}},
	{"finish", func(b builder) { must[rpc.Finish](b)(b.msg.NewFinish()).SetReleaseResultCaps(false) }},
	{"resolve to a third party's", func(b builder) {
		resolve := must[rpc.Resolve](b)(b.msg.NewResolve())
		resolve.SetPromiseId(3)
		b.thirdParty(must[rpc.CapDescriptor](b)(resolve.NewCap()), 8)
	}},
	{"resolve to an exception", func(b builder) {
		b.must(must[rpc.Exception](b)(must[rpc.Resolve](b)(b.msg.NewResolve()).NewException()).SetReason("gone"))
	}},
	{"release", func(b builder) { must[rpc.Release](b)(b.msg.NewRelease()).SetReferenceCount(2) }},
	{"disembargo, sender loopback", func(b builder) {
		d := must[rpc.Disembargo](b)(b.msg.NewDisembargo())
		must[rpc.MessageTarget](b)(d.NewTarget()).SetImportedCap(2)
		d.Context().SetSenderLoopback(10)
	}},
	{"disembargo, receiver loopback", func(b builder) {
		d := must[rpc.Disembargo](b)(b.msg.NewDisembargo())
		must[rpc.MessageTarget](b)(d.NewTarget()).SetImportedCap(2)
		d.Context().SetReceiverLoopback(10)
	}},
	{"disembargo, accept", func(b builder) {
		d := must[rpc.Disembargo](b)(b.msg.NewDisembargo())
		b.answer(must[rpc.MessageTarget](b)(d.NewTarget()).NewPromisedAnswer, 11)
		b.must(d.Context().SetAccept([]byte{0, 1, 2}))
	}},
	{"provide", func(b builder) {
		provide := must[rpc.Provide](b)(b.msg.NewProvide())
		must[rpc.MessageTarget](b)(provide.NewTarget()).SetImportedCap(9)
		b.must(provide.SetRecipient(b.toAwait("alice", nonce(0xab))))
	}},
	{"accept", func(b builder) {
		accept := must[rpc.Accept](b)(b.msg.NewAccept())
		b.must(accept.SetEmbargo([]byte{0, 1, 2}))
		b.must(accept.SetProvision(b.toComplete("bob", nonce(0xab))))
	}},
	{"thirdPartyAnswer", func(b builder) {
		answer := must[rpc.ThirdPartyAnswer](b)(b.msg.NewThirdPartyAnswer())
		answer.SetAnswerId(1 << 30)
		b.must(answer.SetCompletion(b.toComplete("bob", nonce(0xab))))
	}},
	{"join", func(b builder) {
		join := must[rpc.Join](b)(b.msg.NewJoin())
		must[rpc.MessageTarget](b)(join.NewTarget()).SetImportedCap(9)
	}},
	{"abort", func(b builder) { b.must(must[rpc.Exception](b)(b.msg.NewAbort()).SetReason("unknown id")) }},
	{"unimplemented", func(b builder) { must[rpc.Message](b)(b.msg.NewUnimplemented()) }},
}

func newMessage(t testing.TB) rpc.Message {
	t.Helper()
	_, seg := capnp.NewSingleSegmentMessage(nil)
	msg, err := rpc.NewRootMessage(seg)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func newTestDecoder() *Decoder {
	registry := new(schemas.Registry)
	threeparty.RegisterSchema(registry)
	return NewDecoder(nil, registry)
}

func TestDecodeEveryKind(t *testing.T) {
	d := newTestDecoder()
	var got bytes.Buffer
	for _, kind := range kinds {
		msg := newMessage(t)
		kind.build(builder{t, msg})
		line, err := d.Decode(msg)
		if err != nil {
			t.Errorf("%s: %v", kind.name, err)
		}
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("# " + kind.name + ": " + line.text() + "\n")
		got.Write(text)
		got.WriteByte('\n')
	}
	golden(t, "kinds.golden", got.Bytes())
}

func TestDecodeWithoutSchemas(t *testing.T) {
	msg := newMessage(t)
	call, err := msg.NewCall()
	if err != nil {
		t.Fatal(err)
	}
	call.SetInterfaceId(0xab)
	call.SetMethodId(2)
	line, _ := NewDecoder(nil, nil).Decode(msg)
	if line.Interface != "0xab" || line.Method != "2" {
		t.Errorf("got %q.%q, want the numbers", line.Interface, line.Method)
	}
}

// A peer may send anything: what is missing or odd gives an error and what could be read.
func TestDecodeOddMessages(t *testing.T) {
	odd := map[string]func(b builder){
		"unknown vat": func(b builder) {
			provide := must[rpc.Provide](b)(b.msg.NewProvide())
			provide.SetQuestionId(5)
			await := must[transport.ToAwait](b)(transport.NewToAwait(b.msg.Segment()))
			b.must(provide.SetRecipient(await.ToPtr()))
		},
		"no provision": func(b builder) { must[rpc.Accept](b)(b.msg.NewAccept()).SetQuestionId(5) },
		"no contact": func(b builder) {
			resolve := must[rpc.Resolve](b)(b.msg.NewResolve())
			resolve.SetPromiseId(5)
			must[rpc.ThirdPartyCapDescriptor](b)(must[rpc.CapDescriptor](b)(resolve.NewCap()).NewThirdPartyHosted())
		},
	}
	for name, build := range odd {
		t.Run(name, func(t *testing.T) {
			msg := newMessage(t)
			build(builder{t, msg})
			line, err := newTestDecoder().Decode(msg)
			if err == nil {
				t.Error("no error")
			}
			if !line.HasID(5) {
				t.Errorf("the id was readable, but is lost: %+v", line)
			}
		})
	}
	if line, _ := newTestDecoder().Decode(rpc.Message{}); line.Msg == "" {
		t.Error("an empty message has no name")
	}
}

// A list of many entries costs its sender nothing: it must not cost us.
func TestDecodeLongList(t *testing.T) {
	msg := newMessage(t)
	b := builder{t, msg}
	call := must[rpc.Call](b)(msg.NewCall())
	must[rpc.MessageTarget](b)(call.NewTarget()).SetImportedCap(1)
	must[rpc.CapDescriptor_List](b)(must[rpc.Payload](b)(call.NewParams()).NewCapTable(maxEntries + 1))
	line, err := newTestDecoder().Decode(msg)
	if err == nil || len(line.Caps) != maxEntries {
		t.Errorf("%d entries read, error %v", len(line.Caps), err)
	}
}

// The trace format is fixed: these keys, and no others.
func TestKeysOfTheFormat(t *testing.T) {
	allowed := map[string]bool{}
	for _, key := range []string{"t", "at", "from", "to", "msg", "id", "target", "interface", "method", "resultsTo",
		"which", "caps", "recipient", "nonce", "nonces", "introducer", "context", "embargo", "count",
		"releaseCaps", "noFinish", "error"} {
		allowed[key] = true
	}
	d := newTestDecoder()
	for _, kind := range kinds {
		msg := newMessage(t)
		kind.build(builder{t, msg})
		line, _ := d.Decode(msg)
		text, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			if !allowed[key] {
				t.Errorf("%s: key %q is not of the format", kind.name, key)
			}
		}
	}
}
