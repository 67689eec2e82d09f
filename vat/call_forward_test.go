package vat

import (
	"slices"
	"testing"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// A call was forwarded, its results have gone elsewhere, and then the caller's Finish is dealt with before the news of the
// former. The call is still to be returned, or its answer stays for ever; and the caller needs the nonce, for an answer
// that it has not been told of may have come to it.
func TestFinishedBeforeItIsKnownToBeForwarded(t *testing.T) {
	s, w := plainSession(t, false)
	callee, _ := calleeOf(s)
	ref := &answerRef{s: s, id: 1, mayAwait: true}
	s.answers.add(1, &answer{ref: ref})
	f := &forwarding{ref: ref, to: callee, nonce: nonce{1}}
	q := newQuestionRef(callee, 1)
	callee.ask(q, &question{to: f, kept: true})
	check(callee.returned(q.id, result{}, true))
	check(s.turn(msgFinish(1)))
	check(s.handle(&answerAway{f, q}))
	settleAll(t, s)
	settleAll(t, callee)
	if want := []string{"return 1 awaitFromThirdParty"}; !slices.Equal(w.sent, want) || s.answers.len() > 0 {
		t.Errorf("sent %q, want %q; %d answers are left", w.sent, want, s.answers.len())
	}
	if n := callee.questions.len(); n > 0 {
		t.Errorf("%d questions are left", n)
	}
}

// calleeOf is another session of the vat of s.
func calleeOf(s *session) (*session, *listWire) {
	callee, w := newSession(s.vat, "plain:callee", plainHost{}), &listWire{}
	callee.queue, callee.wire = actors.NewQueue(byHand{}), w
	callee.hello.Store(&transport.Hello{ID: "plain:callee", Features: transport.AllFeatures})
	return callee, w
}

// A call was forwarded to us, and by us to the next; then the one who waits for it and the one who forwarded it both let go,
// before it is known to be on its way. The next is still to hear that nobody cares.
func TestAllLeaveBeforeItIsKnownToBeForwarded(t *testing.T) {
	s, _ := plainSession(t, false)
	callee, w := calleeOf(s)
	ref := &answerRef{s: s, id: 1, left: &answer{}}
	ref.adoption = &adoptedCall{from: ref, left: true, over: true, away: true}
	s.left[ref] = true
	q := newQuestionRef(callee, 1)
	callee.ask(q, &question{to: ref, kept: true})
	check(callee.returned(q.id, result{}, true))
	check(s.handle(&forwardedAnswer{ref, q}))
	settleAll(t, s)
	settleAll(t, callee)
	if want := []string{"finish 0"}; !slices.Equal(w.sent, want) {
		t.Errorf("sent %q, want %q", w.sent, want)
	}
}
