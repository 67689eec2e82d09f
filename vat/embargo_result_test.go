package vat

import (
	"slices"
	"testing"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// A question that everybody has let go of stays for a call that is pipelined on it. When it returns a capability of ours,
// the Disembargo for that goes out before the Finish, or the embargo stands for ever.
func TestEmbargoOnWhatWasLetGo(t *testing.T) {
	for name, late := range map[string]bool{"before the Return": false, "in the mailbox at the Return": true} {
		t.Run(name, func(t *testing.T) {
			s, w := plainSession(t, true)
			check(s.turn(bootstrapFrame(0)))
			settleAll(t, s)
			w.sent = nil
			q := newQuestionRef(s, 1)
			s.ask(q, &question{inFlight: 1, pipelined: [][]capnp.PipelineOp{{{Field: 0}}}})
			q.drop()
			if !late {
				settleAll(t, s)
			}
			// What the Return wants in turns to come is behind the Return of what is pipelined.
			check(s.onFrame(must(capnp.Unmarshal(must(ourOwn(q.id, 0).Message().Marshal())))))
			s.pipelinedReturned(q)
			settleAll(t, s)
			if want := []string{"disembargo", "finish 0"}; !slices.Equal(w.sent, want) {
				t.Errorf("sent %q, want %q", w.sent, want)
			}
			check(s.turn(disembargoFrame(wireTarget{}, func(c rpc.Disembargo_context) { c.SetReceiverLoopback(0) })))
			settleAll(t, s)
			if n := s.embargoes.len() + s.questions.len(); n > 0 {
				t.Errorf("%d entries are left", n)
			}
		})
	}
}

// ourOwn is a Return whose results are a struct with an export of ours.
func ourOwn(id, export uint32) rpc.Message {
	m, r := msgReturn(id)
	p := must(r.NewResults())
	content := must(capnp.NewStruct(p.Segment(), capnp.ObjectSize{PointerCount: 1}))
	check(content.SetPtr(0, capnp.NewInterface(p.Segment(), 0).ToPtr()))
	check(p.SetContent(content.ToPtr()))
	must(p.NewCapTable(1)).At(0).SetReceiverHosted(export)
	return m
}
