package flood

import (
	"context"
	"strings"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A peer speaks rpc.capnp by hand, with whatever ids it likes. It counts what it hears and keeps nothing of it: a flood
// of answers is not to fill its own memory.
type peer struct {
	t    testing.TB
	name string
	conn transport.Conn

	mu    sync.Mutex
	count map[string]int    // by kind, and for returns what they are
	why   map[string]string // reason of the last exception, or abort
	asked uint32            // by served
	over  error             // why nothing more comes
	heard chan struct{}     // closed when something was heard
	done  chan struct{}     // closed when nothing more comes
}

// newPeer begins to read.
func newPeer(t testing.TB, name string, conn transport.Conn) *peer {
	p := &peer{t: t, name: name, conn: conn, count: map[string]int{}, why: map[string]string{},
		heard: make(chan struct{}), done: make(chan struct{})}
	go p.listen()
	return p
}

func (p *peer) listen() {
	defer close(p.done)
	for {
		msg, err := p.conn.ReadFrame()
		p.mu.Lock()
		if err != nil {
			p.over = err
		} else {
			p.note(msg)
		}
		close(p.heard)
		p.heard = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *peer) note(msg *capnp.Message) {
	m := must(rpc.ReadRootMessage(msg))
	kind := m.Which().String()
	switch m.Which() {
	case rpc.Message_Which_return:
		r := must(m.Return())
		kind += " " + r.Which().String()
		if r.Which() == rpc.Return_Which_exception {
			e := must(r.Exception())
			p.why[kind] = must(e.Reason())
			kind += " " + e.Type().String()
			p.why[kind] = must(e.Reason())
		}
	case rpc.Message_Which_resolve:
		if r := must(m.Resolve()); r.Which() == rpc.Resolve_Which_exception {
			p.why[kind] = must(must(r.Exception()).Reason())
		}
	case rpc.Message_Which_abort:
		p.why[kind] = must(must(m.Abort()).Reason())
	}
	p.count[kind]++
}

// awaitCount waits until n messages of a kind have been heard, or nothing more comes, and returns how many were.
func (p *peer) awaitCount(kind string, n int) int {
	for {
		p.mu.Lock()
		got, over, heard := p.count[kind], p.over, p.heard
		p.mu.Unlock()
		if got >= n || over != nil {
			return got
		}
		<-heard
	}
}

// want waits for n messages of a kind.
func (p *peer) want(kind string, n int) {
	p.t.Helper()
	if got := p.awaitCount(kind, n); got < n {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Fatalf("%s heard %d of %q, want %d; all: %v, reasons: %q, over: %v", p.name, got, kind, n, p.count, p.why, p.over)
	}
}

// wantReason waits for a message of a kind whose reason says text.
func (p *peer) wantReason(kind, text string) {
	p.t.Helper()
	p.want(kind, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(p.why[kind], text) {
		p.t.Errorf("%s heard %q with %q, want %q", p.name, kind, p.why[kind], text)
	}
}

// wantOverloaded waits for a Return that names a limit.
func (p *peer) wantOverloaded(limit string) {
	p.t.Helper()
	p.wantReason("return exception overloaded", "Limits."+limit+" allows")
}

// wantAbort waits for an Abort that names a limit, and the end.
func (p *peer) wantAbort(limit string) {
	p.t.Helper()
	p.wantReason("abort", "Limits."+limit+" allows")
	<-p.done
}

func (p *peer) hangUp() {
	p.conn.Close()
	<-p.done
}

// send sends messages in one write. An error is of no consequence: reading ends with it.
func (p *peer) send(messages ...[]byte) { _ = p.conn.WriteFrames(messages) }

// message makes one message.
func message(build func(rpc.Message)) []byte {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	defer msg.Release()
	build(must(rpc.NewRootMessage(seg)))
	return must(msg.Marshal())
}

func bootstrap(id uint32) []byte {
	return message(func(m rpc.Message) { must(m.NewBootstrap()).SetQuestionId(id) })
}

func finish(id uint32) []byte {
	return message(func(m rpc.Message) {
		f := must(m.NewFinish())
		f.SetQuestionId(id)
		f.SetReleaseResultCaps(true)
	})
}

// A to is what a message is addressed to: an import of the peer's, or field 0 of an answer.
type to func(rpc.MessageTarget)

// object is what start left as import 0.
func object(t rpc.MessageTarget) { t.SetImportedCap(0) }

func imported(id uint32) to { return func(t rpc.MessageTarget) { t.SetImportedCap(id) } }

func answer(id uint32) to {
	return func(t rpc.MessageTarget) { onAnswer(must(t.NewPromisedAnswer()), id, 0) }
}

func onAnswer(pa rpc.PromisedAnswer, id uint32, field uint16) {
	pa.SetQuestionId(id)
	must(pa.NewTransform(1)).At(0).SetGetPointerField(field)
}

// call calls a method with data as its parameter, or where there is none with the first of caps.
func call(id uint32, on to, method uint16, data []byte, caps ...func(rpc.CapDescriptor)) []byte {
	return message(func(m rpc.Message) { writeCall(must(m.NewCall()), id, on, method, data, caps) })
}

func writeCall(c rpc.Call, id uint32, on to, method uint16, data []byte, caps []func(rpc.CapDescriptor)) {
	c.SetQuestionId(id)
	on(must(c.NewTarget()))
	c.SetInterfaceId(testapi.Probe_TypeID)
	c.SetMethodId(method)
	params := must(c.NewParams())
	args := must(capnp.NewStruct(params.Segment(), capnp.ObjectSize{DataSize: 8, PointerCount: 2}))
	if data != nil {
		check(args.SetData(0, data))
	}
	if len(caps) > 0 {
		table := must(params.NewCapTable(int32(len(caps))))
		for i, describe := range caps {
			describe(table.At(i))
		}
		check(args.SetPtr(0, capnp.NewInterface(params.Segment(), 0).ToPtr()))
	}
	check(params.SetContent(args.ToPtr()))
}

func senderHosted(id uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { d.SetSenderHosted(id) }
}

func senderPromise(id uint32) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { d.SetSenderPromise(id) }
}

func receiverHosted(d rpc.CapDescriptor) { d.SetReceiverHosted(0) }

func receiverAnswer(id uint32, field uint16) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) { onAnswer(must(d.NewReceiverAnswer()), id, field) }
}

// manyCaps are n descriptors.
// resultAt is what a call will return that the vat of that name has.
func resultAt(host, address string) func(rpc.CapDescriptor) {
	return func(d rpc.CapDescriptor) {
		t := must(d.NewThirdPartyHosted())
		contact := must(transport.NewToContact(t.Segment()))
		encode(host, must(contact.NewHost()))
		check(contact.SetNonce(nonce(1)))
		contact.SetOfCall(true)
		check(must(contact.NewAddresses(1)).Set(0, address))
		check(t.SetId(contact.ToPtr()))
	}
}

func manyCaps(n int, describe func(i int) func(rpc.CapDescriptor)) []func(rpc.CapDescriptor) {
	caps := make([]func(rpc.CapDescriptor), n)
	for i := range caps {
		caps[i] = describe(i)
	}
	return caps
}

func resolve(id uint32, describe func(rpc.CapDescriptor)) []byte {
	return message(func(m rpc.Message) {
		r := must(m.NewResolve())
		r.SetPromiseId(id)
		describe(must(r.NewCap()))
	})
}

func disembargo(on to, context func(rpc.Disembargo_context)) []byte {
	return message(func(m rpc.Message) {
		d := must(m.NewDisembargo())
		on(must(d.NewTarget()))
		context(d.Context())
	})
}

func encode(name string, to transport.VatId) {
	check(must(transport.ParseVatID("plain:" + name)).Encode(to))
}

// nonce is the n-th.
func nonce(n uint32) []byte {
	b := make([]byte, 16)
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return b
}

// provide offers the object to a vat.
func provide(id uint32, recipient string) []byte {
	return message(func(m rpc.Message) {
		p := must(m.NewProvide())
		p.SetQuestionId(id)
		object(must(p.NewTarget()))
		await := must(transport.NewToAwait(p.Segment()))
		encode(recipient, must(await.NewRecipient()))
		check(await.SetNonce(nonce(id)))
		check(p.SetRecipient(await.ToPtr()))
	})
}

// keepFor calls wait with its result kept for a vat.
func keepFor(id uint32, recipient string, nonces ...uint32) []byte {
	return keep(methodWait, id, recipient, nonces...)
}

// keep calls a method with its result kept for a vat.
func keep(method uint16, id uint32, recipient string, nonces ...uint32) []byte {
	return message(func(m rpc.Message) {
		c := must(m.NewCall())
		writeCall(c, id, object, method, nil, nil)
		await := must(transport.NewToAwait(c.Segment()))
		encode(recipient, must(await.NewRecipient()))
		results := must(await.NewResults(int32(len(nonces))))
		for i, n := range nonces {
			check(results.At(i).SetNonce(nonce(n)))
			must(results.At(i).NewPath(1)).Set(0, 0)
		}
		check(c.SendResultsTo().SetThirdParty(await.ToPtr()))
	})
}

// accept asks for what a vat provides.
func accept(id uint32, introducer string) []byte {
	return message(func(m rpc.Message) {
		a := must(m.NewAccept())
		a.SetQuestionId(id)
		done := must(transport.NewToComplete(a.Segment()))
		encode(introducer, must(done.NewIntroducer()))
		check(done.SetNonce(nonce(id)))
		check(a.SetProvision(done.ToPtr()))
	})
}

// answered answers a call of which nobody has said that mallory does.
func answered(id uint32, introducer string) []byte {
	return message(func(m rpc.Message) {
		t := must(m.NewThirdPartyAnswer())
		t.SetAnswerId(1<<30 + id)
		done := must(transport.NewToComplete(t.Segment()))
		encode(introducer, must(done.NewIntroducer()))
		check(done.SetNonce(nonce(id)))
		check(t.SetCompletion(done.ToPtr()))
	})
}

// start gets the bootstrap capability as import 0.
func (p *peer) start() *peer {
	p.t.Helper()
	p.send(bootstrap(0))
	p.want("return results", 1)
	p.send(message(func(m rpc.Message) {
		f := must(m.NewFinish())
		f.SetQuestionId(0)
		f.SetReleaseResultCaps(false)
	}))
	return p
}

// served checks that p gets an answer.
func (p *peer) served() {
	p.t.Helper()
	p.mu.Lock()
	n := p.count["return results"]
	p.asked++
	id := 1<<20 + p.asked
	p.mu.Unlock()
	p.send(call(id, object, methodEcho, []byte("still there?")))
	p.want("return results", n+1)
	p.send(finish(id))
}

// dial connects a peer called name.
func dial(t testing.TB, network transport.Network, name string, id transport.VatID, addrs []string) *peer {
	t.Helper()
	conn, err := network.Dial(context.Background(), id, addrs)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, name, conn)
}
