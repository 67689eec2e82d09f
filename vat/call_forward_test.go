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
	callee := newSession(s.vat, "plain:callee", plainHost{})
	callee.queue, callee.wire = actors.NewQueue(byHand{}), &listWire{}
	callee.hello.Store(&transport.Hello{ID: "plain:callee", Features: transport.AllFeatures})
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
