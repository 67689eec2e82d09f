package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/scenario/play"
)

// A raw peer speaks rpc.capnp by hand, message by message, with whatever ids it likes: a dialogue with a vat of a
// stage. What it hears is told as lines that begin with the ids, unlike those of a script, which have names:
// "return 3 ...".
type raw struct {
	t    *testing.T
	name string
	conn transport.Conn // nil: nobody has come yet

	mu    sync.Mutex
	heard []string
	over  error // why nothing more comes
	done  chan struct{}
}

// dialRaw connects a new raw peer to the vat called to. It hangs up at the end of the test.
func (st *stage) dialRaw(name, to string) *raw {
	st.t.Helper()
	network := must(st.memory.Vat(name, transport.Config{Name: name}))
	peer := must(st.member(to))
	conn := must(network.Dial(context.Background(), peer.v.ID(), st.memory.Addresses(peer.v.ID())))
	r := &raw{t: st.t, name: name, conn: conn, done: make(chan struct{})}
	go r.listen()
	st.atEnd(func() {
		r.hangUp()
		network.Close()
	})
	return r
}

// expectRaw is a raw peer that waits for a vat to connect. It hangs up at the end of the test.
func (st *stage) expectRaw(name string, features transport.Features) *raw {
	st.t.Helper()
	network := must(st.memory.Vat(name, transport.Config{Name: name, Features: features}))
	r := &raw{t: st.t, name: name, done: make(chan struct{})}
	go func() {
		conn, err := network.Accept()
		if err != nil {
			close(r.done) // nobody came
			return
		}
		r.conn = conn
		r.listen()
	}()
	st.atEnd(func() {
		network.Close()
		if r.conn != nil {
			r.conn.Close()
		}
		<-r.done
	})
	return r
}

func (r *raw) listen() {
	defer close(r.done)
	for {
		msg, err := r.conn.ReadFrame()
		r.mu.Lock()
		if err != nil {
			r.over = err
			r.mu.Unlock()
			return
		}
		r.heard = append(r.heard, rawLine(msg))
		r.mu.Unlock()
	}
}

// rawLine tells a message with its ids.
func rawLine(msg *capnp.Message) string {
	n := newNarrator()
	m, err := rpc.ReadRootMessage(msg)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	l, err := n.decoder.Decode(m)
	if err != nil {
		return l.Msg + " unreadable: " + err.Error()
	}
	w := []string{l.Msg}
	if l.ID != nil {
		w = append(w, fmt.Sprint(*l.ID))
	}
	if l.Method != "" {
		w = append(w, l.Method)
	}
	w = append(w, n.content(m)...)
	if l.Target != nil {
		w = append(w, "on="+l.Target.String())
	}
	for _, c := range l.Caps {
		w = append(w, c.Which)
		if c.ID != nil {
			w = append(w, fmt.Sprint(*c.ID))
		}
	}
	switch {
	case l.Error != "":
		w = append(w, exceptionOf(m))
	case l.Which != "" && l.Which != "results" && l.Which != "cap":
		w = append(w, l.Which)
	}
	if l.Context != "" {
		w = append(w, l.Context)
	}
	if l.Introducer != "" {
		w = append(w, "from="+l.Introducer)
	}
	if l.Recipient != "" {
		w = append(w, "to="+l.Recipient)
	}
	if l.Embargo != "" {
		w = append(w, "embargo="+l.Embargo)
	}
	if m.Which() == rpc.Message_Which_unimplemented {
		if inner, err := m.Unimplemented(); err == nil {
			w = append(w, inner.Which().String())
		}
	}
	return strings.Join(w, " ")
}

func (r *raw) hangUp() {
	r.conn.Close()
	<-r.done
	synctest.Wait()
}

// send sends a message that build fills.
func (r *raw) send(build func(rpc.Message)) {
	r.t.Helper()
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	build(must(rpc.NewRootMessage(seg)))
	if err := r.conn.WriteFrames([][]byte{must(msg.Marshal())}); err != nil {
		r.t.Errorf("%s: %v", r.name, err)
	}
	synctest.Wait()
}

// want is satisfied by what was heard since the last want: lines that begin with these, and nothing more.
func (r *raw) want(lines ...string) {
	r.t.Helper()
	r.compare(r.hear(), lines)
}

// wantExactly is want for whole lines.
func (r *raw) wantExactly(lines ...string) {
	r.t.Helper()
	if heard := r.hear(); !slices.Equal(heard, lines) {
		r.t.Fatalf("%s heard\n\t%s\nwant\n\t%s", r.name, strings.Join(heard, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

// wantInAnyOrder is want for what goroutines of the vat send side by side.
func (r *raw) wantInAnyOrder(lines ...string) {
	r.t.Helper()
	heard := r.hear()
	slices.Sort(heard)
	slices.Sort(lines)
	r.compare(heard, lines)
}

// hear returns what was heard since the last time.
func (r *raw) hear() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := r.heard
	r.heard = nil
	return heard
}

func (r *raw) compare(heard, lines []string) {
	r.t.Helper()
	if len(heard) != len(lines) {
		r.t.Fatalf("%s heard\n\t%s\nwant\n\t%s", r.name, strings.Join(heard, "\n\t"), strings.Join(lines, "\n\t"))
	}
	for i, want := range lines {
		if !strings.HasPrefix(heard[i], want) {
			r.t.Fatalf("%s heard\n\t%s\nwant\n\t%s", r.name, strings.Join(heard, "\n\t"), strings.Join(lines, "\n\t"))
		}
	}
}

// silence is want nothing.
func (r *raw) silence() {
	r.t.Helper()
	r.want()
}

// wantAbort is satisfied by an Abort with this in its reason, and the end of the connection.
func (r *raw) wantAbort(reason string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := ""
	if len(r.heard) > 0 {
		last = r.heard[len(r.heard)-1]
	}
	if !strings.HasPrefix(last, "abort ") || !strings.Contains(last, reason) || r.over == nil {
		r.t.Fatalf("%s heard %q, connection over: %v; want an abort with %q", r.name, r.heard, r.over, reason)
	}
	r.heard = nil
}

// start is a dialogue that has got the bootstrap capability, import 0 of the raw peer's.
func (r *raw) start() *raw {
	r.t.Helper()
	r.bootstrap(0)
	r.want("return 0 senderHosted 0")
	r.finish(0)
	r.silence()
	return r
}

func (r *raw) bootstrap(id uint32) {
	r.send(func(m rpc.Message) { must(m.NewBootstrap()).SetQuestionId(id) })
}

// rawTarget is what a message of a raw peer's is addressed to: an import, or an answer's capability in field 0.
type rawTarget struct {
	answer bool
	id     uint32
	whole  bool // the answer itself, no field of it
}

func onImport(id uint32) rawTarget { return rawTarget{id: id} }
func onAnswer(id uint32) rawTarget { return rawTarget{answer: true, id: id} }

func (to rawTarget) write(t rpc.MessageTarget) {
	if !to.answer {
		t.SetImportedCap(to.id)
		return
	}
	pa := must(t.NewPromisedAnswer())
	pa.SetQuestionId(to.id)
	if !to.whole {
		must(pa.NewTransform(1)).At(0).SetGetPointerField(0)
	}
}

// call calls a method with text, and with the capabilities that caps describe, the first of them in field cap.
func (r *raw) call(id uint32, to rawTarget, method, text string, caps ...func(rpc.CapDescriptor)) {
	r.t.Helper()
	r.send(func(m rpc.Message) { writeCall(must(m.NewCall()), id, to, method, text, caps) })
}

func writeCall(c rpc.Call, id uint32, to rawTarget, method, text string, caps []func(rpc.CapDescriptor)) {
	c.SetQuestionId(id)
	to.write(must(c.NewTarget()))
	called := must(methodNamed(method))
	c.SetInterfaceId(called.InterfaceID)
	c.SetMethodId(called.MethodID)
	writePayload(must(c.NewParams()), text, caps)
}

func writePayload(p rpc.Payload, text string, caps []func(rpc.CapDescriptor)) {
	cargo := must(play.NewCargo(p.Segment()))
	check(cargo.SetText(text))
	table := must(p.NewCapTable(int32(len(caps))))
	for i, describe := range caps {
		describe(table.At(i))
	}
	if len(caps) > 0 {
		check(capnp.Struct(cargo).SetPtr(0, capnp.NewInterface(p.Segment(), 0).ToPtr()))
	}
	check(p.SetContent(cargo.ToPtr()))
}

func senderHosted(id uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { d.SetSenderHosted(id) }
}

func senderPromise(id uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { d.SetSenderPromise(id) }
}

func receiverHosted(id uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { d.SetReceiverHosted(id) }
}

// thirdParty is a capability that the vat called host has for the recipient of the message.
func thirdParty(host, nonce string, vine uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) {
		third := must(d.NewThirdPartyHosted())
		third.SetVineId(vine)
		contact := must(transport.NewToContact(third.Segment()))
		encode(plainID(host), must(contact.NewHost()))
		check(contact.SetNonce([]byte(nonce)))
		check(third.SetId(contact.ToPtr()))
	}
}

func receiverAnswer(id uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { must(d.NewReceiverAnswer()).SetQuestionId(id) }
}

// ret returns results. The capabilities in the parameters are to be released by hand.
func (r *raw) ret(id uint32, text string, caps ...func(rpc.CapDescriptor)) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewReturn())
		x.SetAnswerId(id)
		x.SetReleaseParamCaps(false)
		writePayload(must(x.NewResults()), text, caps)
	})
}

// give returns a capability: to a Bootstrap or an Accept.
func (r *raw) give(id uint32, describe func(rpc.CapDescriptor)) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewReturn())
		x.SetAnswerId(id)
		x.SetReleaseParamCaps(false)
		p := must(x.NewResults())
		describe(must(p.NewCapTable(1)).At(0))
		check(p.SetContent(capnp.NewInterface(p.Segment(), 0).ToPtr()))
	})
}

// fail returns an exception.
func (r *raw) fail(id uint32, reason string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewReturn())
		x.SetAnswerId(id)
		x.SetReleaseParamCaps(false)
		check(must(x.NewException()).SetReason(reason))
	})
}

func (r *raw) finish(id uint32) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		f := must(m.NewFinish())
		f.SetQuestionId(id)
		f.SetReleaseResultCaps(false)
		f.SetRequireEarlyCancellationWorkaround(false)
	})
}

func (r *raw) release(id, count uint32) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewRelease())
		x.SetId(id)
		x.SetReferenceCount(count)
	})
}

func (r *raw) resolve(id uint32, to func(rpc.CapDescriptor)) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewResolve())
		x.SetPromiseId(id)
		to(must(x.NewCap()))
	})
}

func (r *raw) disembargo(to rawTarget, context func(rpc.Disembargo_context)) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		d := must(m.NewDisembargo())
		to.write(must(d.NewTarget()))
		context(d.Context())
	})
}

func senderLoopback(id uint32) func(rpc.Disembargo_context) {
	return func(c rpc.Disembargo_context) { c.SetSenderLoopback(id) }
}

func receiverLoopback(id uint32) func(rpc.Disembargo_context) {
	return func(c rpc.Disembargo_context) { c.SetReceiverLoopback(id) }
}

func acceptContext(embargo string) func(rpc.Disembargo_context) {
	return func(c rpc.Disembargo_context) { check(c.SetAccept([]byte(embargo))) }
}

// plainID is the vat called name.
func plainID(name string) transport.VatID { return must(transport.ParseVatID("plain:" + name)) }

// provide offers import target to the vat called recipient. nonce is 16 bytes, unless that is to be wrong.
func (r *raw) provide(id uint32, to rawTarget, recipient, nonce string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		p := must(m.NewProvide())
		p.SetQuestionId(id)
		to.write(must(p.NewTarget()))
		await := must(transport.NewToAwait(p.Segment()))
		encode(plainID(recipient), must(await.NewRecipient()))
		check(await.SetNonce([]byte(nonce)))
		check(p.SetRecipient(await.ToPtr()))
	})
}

// accept asks for what the vat called introducer provides. embargo "" is none.
func (r *raw) accept(id uint32, introducer, nonce, embargo string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		a := must(m.NewAccept())
		a.SetQuestionId(id)
		done := must(transport.NewToComplete(a.Segment()))
		encode(plainID(introducer), must(done.NewIntroducer()))
		check(done.SetNonce([]byte(nonce)))
		check(a.SetProvision(done.ToPtr()))
		if embargo != "" {
			check(a.SetEmbargo([]byte(embargo)))
		}
	})
}

func encode(id transport.VatID, to transport.VatId) { check(id.Encode(to)) }
