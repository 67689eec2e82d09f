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
			s, w, q := pipelinedOn(t)
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

// The Disembargo holds its question until it has gone out. Where it never does, that is let go of all the same: with an
// Accept it keeps the way through the introducer, whose session goes on.
func TestDisembargoThatIsNeverSent(t *testing.T) {
	for name, sent := range map[string]bool{"the turn fails": false, "the session ends first": true} {
		t.Run(name, func(t *testing.T) {
			s, _, q := pipelinedOn(t)
			frame := must(capnp.Unmarshal(must(ourOwn(q.id, 0).Message().Marshal())))
			check(s.onFrame(frame))

			why := disconnected("the link was cut")
			if sent {
				for _, e := range s.out {
					e.apply(s) // so it is in the mailbox
				}
			} else {
				s.discard(s.out, why)
			}
			s.vat.resetLater(frame)
			s.end.Store(&why)
			(&sessionActor{s: s}).letGo(why)
			q.drop()
			if n := q.holds.Load(); n != 0 {
				t.Errorf("%d still hold the question", n)
			}
			s.vat.worker.Wait()
		})
	}
}

// pipelinedOn is a session with export 0, and a question on which a call is pipelined.
func pipelinedOn(t *testing.T) (*session, *listWire, *questionRef) {
	s, w := plainSession(t, true)
	check(s.turn(bootstrapFrame(0)))
	settleAll(t, s)
	w.sent = nil
	q := newQuestionRef(s, 1)
	s.ask(q, &question{inFlight: 1, pipelined: [][]capnp.PipelineOp{{{Field: 0}}}})
	return s, w, q
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
