package vat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// The protocol without its actors: table entries are plain values, the wire is a list, turns are calls.

type plainHost struct{}

type plainCell struct{ state any }

func (plainHost) cell(_ string, _ uint32, state any) cell { return &plainCell{state} }
func (c *plainCell) lend() any                            { return c.state }
func (c *plainCell) clear()                               { c.state = nil }
func (c *plainCell) reuse(state any)                      { c.state = state }
func (c *plainCell) retire()                              { c.state = nil }
func (c *plainCell) salvage() any                         { return c.state }

// byHand runs no turns.
type byHand struct{}

func (byHand) Schedule(func()) {}
func (byHand) Throughput() int { return 1 }

type listWire struct{ sent []string }

func (w *listWire) send(m *capnp.Message) bool {
	w.sent = append(w.sent, show(must(rpc.ReadRootMessage(m))))
	return false
}
func (w *listWire) abort(m rpc.Message) { w.send(m.Message()) }
func (w *listWire) node() Node          { return Node{} }

// show is what of a message matters to the tables below.
func show(m rpc.Message) string {
	switch m.Which() {
	case rpc.Message_Which_return:
		r := must(m.Return())
		s := fmt.Sprintf("return %d %v", r.AnswerId(), r.Which())
		if r.Which() == rpc.Return_Which_results {
			caps := must(must(r.Results()).CapTable())
			for i := range caps.Len() {
				s += fmt.Sprintf(" %v", caps.At(i).Which())
			}
		}
		return s
	case rpc.Message_Which_finish:
		return fmt.Sprintf("finish %d", must(m.Finish()).QuestionId())
	case rpc.Message_Which_release:
		r := must(m.Release())
		return fmt.Sprintf("release %d by %d", r.Id(), r.ReferenceCount())
	case rpc.Message_Which_unimplemented:
		return "unimplemented " + must(m.Unimplemented()).Which().String()
	case rpc.Message_Which_bootstrap:
		return fmt.Sprintf("bootstrap %d", must(m.Bootstrap()).QuestionId())
	}
	return m.Which().String()
}

// plainSession is an open session of a vat that offers an object without methods, or nothing.
func plainSession(t *testing.T, offers bool) (*session, *listWire) {
	t.Helper()
	network, err := transport.NewMemory().Vat("us", transport.Config{})
	check(err)
	cfg := Config{Network: network}
	if offers {
		cfg.Bootstrap = capnp.NewClient(server.New(nil, nil, nil))
	}
	v, err := New(cfg)
	check(err)
	s, w := newSession(v, "plain:them", plainHost{}), &listWire{}
	s.queue = actors.NewQueue(byHand{}) // turns are run by applyAll
	s.wire = w
	s.hello.Store(&transport.Hello{ID: "plain:them", Features: transport.AllFeatures})
	t.Cleanup(func() {
		s.endAnswers(errCanceled)
		s.endExports()
		check(v.Close())
	})
	return s, w
}

// turn takes a message and carries out what it wants, as the actor does.
func (s *session) turn(m rpc.Message) error {
	msg, err := capnp.Unmarshal(must(m.Message().Marshal()))
	check(err)
	if err := s.onFrame(msg); err != nil {
		s.discard(s.out, err)
		s.out = nil
		return err
	}
	return s.applyAll()
}

func (s *session) discard(out []effect, why error) {
	for _, e := range out {
		e.discard(s, why)
	}
}

func (s *session) applyAll() error {
	for len(s.out) > 0 {
		out := s.out
		s.out = nil
		for _, e := range out {
			e.apply(s)
		}
		for _, m := range s.queue.Take() {
			if err := s.handle(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func frameOf(fill func(rpc.Message)) rpc.Message {
	m := newMessage()
	fill(m)
	return m
}

func bootstrapFrame(id uint32) rpc.Message { return msgBootstrap(id) }

func callFrame(id uint32, target wireTarget) rpc.Message {
	return frameOf(func(m rpc.Message) {
		c := must(m.NewCall())
		c.SetQuestionId(id)
		target.encode(must(c.NewTarget()))
		must(c.NewParams())
	})
}

func disembargoFrame(target wireTarget, set func(rpc.Disembargo_context)) rpc.Message {
	m, ctx := msgDisembargo(target)
	set(ctx)
	return m
}

func resolveFrame(id uint32, set func(rpc.CapDescriptor)) rpc.Message {
	return frameOf(func(m rpc.Message) {
		r := must(m.NewResolve())
		r.SetPromiseId(id)
		set(must(r.NewCap()))
	})
}

func provideFrame(id uint32, target wireTarget, nonce []byte) rpc.Message {
	return frameOf(func(m rpc.Message) {
		p := must(m.NewProvide())
		p.SetQuestionId(id)
		target.encode(must(p.NewTarget()))
		await := must(transport.NewToAwait(p.Segment()))
		check(transport.VatID("plain:third").Encode(must(await.NewRecipient())))
		check(await.SetNonce(nonce))
		check(p.SetRecipient(await.ToPtr()))
	})
}

func acceptFrame(id uint32, introducer transport.VatID, nonce []byte) rpc.Message {
	return frameOf(func(m rpc.Message) {
		a := must(m.NewAccept())
		a.SetQuestionId(id)
		done := must(transport.NewToComplete(a.Segment()))
		check(introducer.Encode(must(done.NewIntroducer())))
		check(done.SetNonce(nonce))
		check(a.SetProvision(done.ToPtr()))
	})
}

// answeredFrame is a ThirdPartyAnswer for a call that nobody has made.
func answeredFrame(id uint32) rpc.Message {
	return frameOf(func(m rpc.Message) {
		a := must(m.NewThirdPartyAnswer())
		a.SetAnswerId(id)
		done := must(transport.NewToComplete(a.Segment()))
		check(transport.VatID("plain:third").Encode(must(done.NewIntroducer())))
		check(done.SetNonce(make([]byte, 16)))
		check(a.SetCompletion(done.ToPtr()))
	})
}

func returnFrame(id uint32) rpc.Message {
	m, r := msgReturn(id)
	r.SetCanceled()
	return m
}

func TestMessagesInMessagesOut(t *testing.T) {
	export0, answer0 := wireTarget{id: 0}, wireTarget{onAnswer: true, id: 0}
	nonce16 := make([]byte, 16)
	for _, test := range []struct {
		name  string
		none  bool // no bootstrap capability
		in    []rpc.Message
		want  []string
		fault string // that the last message is
	}{
		{name: "bootstrap", in: []rpc.Message{bootstrapFrame(7)}, want: []string{"return 7 results senderHosted"}},
		{name: "bootstrap twice", in: []rpc.Message{bootstrapFrame(1), bootstrapFrame(2)},
			want: []string{"return 1 results senderHosted", "return 2 results senderHosted"}},
		{name: "no bootstrap", none: true, in: []rpc.Message{bootstrapFrame(0)}, want: []string{"return 0 exception"}},
		{name: "unknown method", in: []rpc.Message{bootstrapFrame(0), callFrame(1, export0)},
			want: []string{"return 0 results senderHosted", "return 1 exception"}},
		{name: "pipelined", in: []rpc.Message{bootstrapFrame(0), callFrame(1, answer0)},
			want: []string{"return 0 results senderHosted", "return 1 exception"}},
		{name: "released with the finish", in: []rpc.Message{bootstrapFrame(0),
			frameOf(func(m rpc.Message) { must(m.NewFinish()).SetReleaseResultCaps(true) }), callFrame(1, export0)},
			want: []string{"return 0 results senderHosted"}, fault: "export 0, which does not exist"},
		{name: "kept beyond the finish", in: []rpc.Message{bootstrapFrame(0), msgFinish(0), callFrame(0, export0)},
			want: []string{"return 0 results senderHosted", "return 0 exception"}},
		{name: "question asked twice", in: []rpc.Message{bootstrapFrame(0), bootstrapFrame(0)},
			want: []string{"return 0 results senderHosted"}, fault: "question 0 is asked already"},
		{name: "call on no export", in: []rpc.Message{callFrame(0, export0)}, fault: "export 0, which does not exist"},
		{name: "call on no answer", in: []rpc.Message{callFrame(1, answer0)}, fault: "answer 0, which does not exist"},
		{name: "finish of nothing", in: []rpc.Message{msgFinish(3)}, fault: "question 3, which is not open"},
		{name: "release of nothing", in: []rpc.Message{msgRelease(3, 1)}, fault: "export 3, which does not exist"},
		{name: "release beyond the count", in: []rpc.Message{bootstrapFrame(0), msgRelease(0, 2)},
			want: []string{"return 0 results senderHosted"}, fault: "more than the 1 references sent"},
		{name: "return for nothing", in: []rpc.Message{returnFrame(4)}, fault: "question 4, which was not asked"},
		{name: "resolve of the unknown", in: []rpc.Message{resolveFrame(9, func(d rpc.CapDescriptor) { d.SetSenderHosted(5) })},
			want: []string{"release 5 by 1"}},
		{name: "resolve to nothing of ours", in: []rpc.Message{resolveFrame(9, func(d rpc.CapDescriptor) { d.SetReceiverHosted(5) })},
			fault: "receiverHosted 5, which is not exported"},
		{name: "lifting no embargo", in: []rpc.Message{disembargoFrame(export0, func(c rpc.Disembargo_context) { c.SetReceiverLoopback(2) })},
			fault: "(receiverLoopback) 2, which was not sent"},
		{name: "disembargo of what is no promise", in: []rpc.Message{bootstrapFrame(0), disembargoFrame(export0, func(c rpc.Disembargo_context) { c.SetSenderLoopback(2) })},
			want: []string{"return 0 results senderHosted"}, fault: "export 0, which is not a resolved promise"},
		{name: "disembargo of no handoff", in: []rpc.Message{bootstrapFrame(0), disembargoFrame(answer0, func(c rpc.Disembargo_context) { check(c.SetAccept([]byte("x"))) })},
			want: []string{"return 0 results senderHosted"}, fault: "neither a Provide nor kept"},
		{name: "provide", in: []rpc.Message{bootstrapFrame(0), provideFrame(1, export0, nonce16), msgFinish(1)},
			want: []string{"return 0 results senderHosted", "return 1 canceled"}},
		{name: "provide without a nonce", in: []rpc.Message{bootstrapFrame(0), provideFrame(1, export0, nil)},
			want: []string{"return 0 results senderHosted"}, fault: "Provide without a nonce"},
		{name: "accept with half a nonce", in: []rpc.Message{acceptFrame(0, "plain:third", nonce16[:8])}, fault: "nonce of 8 bytes"},
		{name: "accept of what is for another", in: []rpc.Message{bootstrapFrame(0), provideFrame(1, export0, nonce16), acceptFrame(2, "plain:them", nonce16)},
			want: []string{"return 0 results senderHosted", "return 2 exception"}},
		{name: "accept that waits, and is let go", in: []rpc.Message{acceptFrame(0, "plain:third", nonce16), msgFinish(0)},
			want: []string{"return 0 canceled"}},
		{name: "level 4", in: []rpc.Message{frameOf(func(m rpc.Message) { must(m.NewJoin()) })}, want: []string{"unimplemented join"}},
		{name: "answered under an id of the caller's", in: []rpc.Message{answeredFrame(7)}, fault: "not in [2^30, 2^31)"},
		// The introducer is not there any more: nobody will ever say who waits.
		{name: "answered twice", in: []rpc.Message{answeredFrame(1 << 30), answeredFrame(1 << 30)}, fault: "in use", want: []string{"finish 1073741824"}},
		{name: "asked under an id of the callee's", in: []rpc.Message{bootstrapFrame(1<<31 - 1)}, fault: "the callee's to choose"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, w := plainSession(t, !test.none)
			var err error
			for i, m := range test.in {
				if err = s.turn(m); err != nil && i < len(test.in)-1 {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			var f *protocolFault
			switch {
			case test.fault == "" && err != nil:
				t.Errorf("fault: %v", err)
			case test.fault != "" && (!errors.As(err, &f) || !strings.Contains(f.reason, test.fault)):
				t.Errorf("error %v, want a fault: %s", err, test.fault)
			}
			settleAll(t, s)
			if !slices.Equal(w.sent, test.want) {
				t.Errorf("sent %q, want %q", w.sent, test.want)
			}
		})
	}
}

// settleAll takes what came in the mailbox from outside of turns, until nothing more comes.
func settleAll(t *testing.T, s *session) {
	t.Helper()
	for range 3 {
		s.vat.worker.Wait()
		for _, m := range s.queue.Take() {
			if err := s.handle(m); err != nil {
				t.Error(err)
			}
		}
		if err := s.applyAll(); err != nil {
			t.Error(err)
		}
	}
}

func TestPipeline(t *testing.T) {
	q := &questionRef{}
	path := func(f uint16) []capnp.PipelineOp { return []capnp.PipelineOp{{Field: f}} }
	a, b, c := &liftKept{id: "a"}, &liftKept{id: "b"}, &liftKept{id: "c"}

	var p pipeline
	if _, now := p.add(pipelined{path: path(0), parcel: a}); now {
		t.Error("queueing: a parcel was delivered")
	}
	out := p.forwarded(q)
	if len(out) != 1 || out[0].parcel != a || out[0].to.(pipelineRoad).q != q {
		t.Errorf("forwarded: %v, want a behind the call", out)
	}
	if d, now := p.add(pipelined{path: path(0), parcel: b}); !now || d.to.(pipelineRoad).q != q {
		t.Error("forwarded: b does not follow the call")
	}
	if p.close() != q {
		t.Error("closing: no echo is awaited, though parcels followed the call")
	}
	if _, now := p.add(pipelined{path: path(0), parcel: c}); now {
		t.Error("closing: c went past what is still in the mailbox")
	}
	out = p.settle(&result{err: errCanceled}, nil)
	if len(out) != 1 || out[0].parcel != c {
		t.Errorf("settled: %v, want c", out)
	}
	if _, broken := out[0].to.(brokenRoad); !broken {
		t.Error("settled with an exception: c leads somewhere")
	}

	var unused pipeline
	unused.forwarded(q)
	if unused.close() != nil {
		t.Error("an echo is awaited, though nothing followed the call")
	}
	if _, now := unused.add(pipelined{path: path(0), parcel: a}); now {
		t.Error("closing: a went behind the call, where what comes once the results are in place would overtake it")
	}
	if out = unused.settle(&result{err: errCanceled}, nil); len(out) != 1 || out[0].parcel != a {
		t.Errorf("settled: %v, want a", out)
	}
}

func TestProvision(t *testing.T) {
	const alice, mallory transport.VatID = "plain:alice", "plain:mallory"
	provide, first, second := &answerRef{id: 1}, &answerRef{id: 2}, &answerRef{id: 3}
	accept := func(by transport.VatID, ref *answerRef, embargo string) parked {
		return parked{by: by, as: by, to: ref, embargo: embargo, held: embargo != ""}
	}
	thing := result{cap: &pin{road: brokenRoad{errCanceled}}}
	over := errors.New("withdrawn")
	for _, test := range []struct {
		name  string
		steps []func(*provision) []outcome
		want  string // answers in the order in which they are given: id, and "!" for an exception
		done  bool
	}{
		{"provide, then accept", []func(*provision) []outcome{
			func(p *provision) []outcome { return p.name(alice, provide) },
			func(p *provision) []outcome { return p.offer(thing) },
			func(p *provision) []outcome { return p.accept(accept(alice, first, "")) },
		}, "1 2", false},
		{"accept, then provide", []func(*provision) []outcome{
			func(p *provision) []outcome { return p.accept(accept(alice, first, "")) },
			func(p *provision) []outcome { return append(p.name(alice, provide), p.offer(thing)...) },
		}, "1 2", false},
		{"embargoed until lifted", []func(*provision) []outcome{
			func(p *provision) []outcome { return append(p.name(alice, provide), p.offer(thing)...) },
			func(p *provision) []outcome { return p.accept(accept(alice, first, "x")) },
			func(p *provision) []outcome { return p.lift("y") },
			func(p *provision) []outcome { return p.accept(accept(alice, second, "y")) },
			func(p *provision) []outcome { return p.lift("x") },
		}, "1 3 2", false},
		{"disembargo before both", []func(*provision) []outcome{
			func(p *provision) []outcome { return append(p.name(alice, provide), p.offer(thing)...) },
			func(p *provision) []outcome { return p.lift("x") },
			func(p *provision) []outcome { return p.accept(accept(alice, first, "x")) },
		}, "1 2", false},
		{"a stranger, before and after", []func(*provision) []outcome{
			func(p *provision) []outcome { return p.accept(accept(mallory, first, "")) },
			func(p *provision) []outcome { return append(p.name(alice, provide), p.offer(thing)...) },
			func(p *provision) []outcome { return p.accept(accept(mallory, second, "")) },
		}, "2! 3!", false},
		{"finished before it is accepted", []func(*provision) []outcome{
			func(p *provision) []outcome { return append(p.name(alice, provide), p.offer(thing)...) },
			func(p *provision) []outcome { return p.end(over) },
			func(p *provision) []outcome { return p.accept(accept(alice, first, "")) },
		}, "2!", true},
		{"the introducer is lost, the embargo stands", []func(*provision) []outcome{
			func(p *provision) []outcome { return append(p.name(alice, provide), p.offer(thing)...) },
			func(p *provision) []outcome { return p.accept(accept(alice, first, "x")) },
			func(p *provision) []outcome { return p.end(over) },
		}, "1 2!", true},
		{"kept results go on without the introducer", []func(*provision) []outcome{
			func(p *provision) []outcome { return p.name(alice, nil) },
			func(p *provision) []outcome { return p.accept(accept(alice, first, "x")) },
			func(p *provision) []outcome { return p.lift("x") },
			func(p *provision) []outcome { return p.end(over) },
			func(p *provision) []outcome { return p.offer(thing) },
		}, "2", true},
		{"an accept that is let go", []func(*provision) []outcome{
			func(p *provision) []outcome { return p.accept(accept(alice, first, "")) },
			func(p *provision) []outcome { p.leave(first); return nil },
		}, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p provision
			var got []string
			for _, step := range test.steps {
				for _, o := range step(&p) {
					mark := ""
					if o.res.err != nil {
						mark = "!"
					}
					got = append(got, fmt.Sprintf("%d%s", o.to.(*answerRef).id, mark))
				}
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("answered %q, want %q", s, test.want)
			}
			if p.done() != test.done {
				t.Errorf("done is %v, want %v", p.done(), test.done)
			}
		})
	}
}

// A provision that was forwarded to many is accepted by each, under an embargo of its own.
func TestProvisionWithManyEmbargoes(t *testing.T) {
	var p provision
	p.name("plain:alice", nil)
	p.offer(result{cap: &pin{road: brokenRoad{errCanceled}}})
	for i := range 3 * maxLifted {
		to, id := &answerRef{id: uint32(i)}, fmt.Sprint(i)
		lift := func() []outcome { return p.lift(id) }
		accept := func() []outcome { return p.accept(parked{as: "plain:alice", to: to, embargo: id, held: true}) }
		first, second := accept, lift
		if i%2 == 0 {
			first, second = lift, accept
		}
		if out := first(); len(out) != 0 {
			t.Fatalf("Accept %d was answered early", i)
		}
		if out := second(); len(out) != 1 || out[0].to != to {
			t.Fatalf("Accept %d was not answered", i)
		}
	}
}
