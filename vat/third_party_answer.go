package vat

import (
	"sync"
	"sync/atomic"

	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// An adoptedCall is the sink of a call whose results go to a third party, the recipient: "the callee directly connects to
// the given third party and sends it a ThirdPartyAnswer in order to adopt the call into its connection."
//
// The call has two answers then: that of the introducer, from, which has returned at once (resultsSentElsewhere) and
// serves what the introducer pipelines; and one in the session with the recipient, to, which returns the results. It is
// canceled when nobody waits for either; until the second is announced, the introducer alone decides.
//
// States:
//
//	asking     the session with the recipient is to announce it, and may still be dialing
//	announced  to is there. If its session is lost before the recipient has finished it, it is given back
//	back       given back: announced, or to be, in the session with the introducer, who tells the recipient. That is
//	           where it goes at once when the recipient cannot be reached, and when the results are here and
//	           a session with the recipient is not: nobody waits for a dial
//	over       nobody waits for the results there any more
type adoptedCall struct {
	key       provisionKey
	recipient transport.VatID
	addrs     []string
	from      *answerRef

	mu      sync.Mutex
	attempt int        // counts the ways that were tried
	at      *session   // asking: whose turn it is
	next    *answerRef // asking, and the session is open: what to will be
	to      *answerRef
	back    bool
	over    bool
	left    bool // the introducer has finished its answer
	away    bool // the call was forwarded once more: its results do not come by here

	// What to is to be told, kept until it is over in case that it is lost; and what it has been told.
	q       *questionRef
	early   *result // set before the call is over
	res     *result
	told    bool // of q
	piped   bool // early
	settled bool // with res
}

var _ sink = (*adoptedCall)(nil)

// adopt makes the call of ref one that is answered to the vat recipient, and returns it to the introducer.
func (s *session) adopt(ref *answerRef, recipient transport.VatID, n nonce, addrs []string) sink {
	a := &adoptedCall{key: provisionKey{s.peer, n}, recipient: recipient, addrs: addrs, from: ref}
	ref.adoption = a
	s.returnElsewhere(ref.id)
	s.emit(do(a.ask))
	return a
}

// askAnnounce has a session announce a to its peer, if that is still the attempt.
type askAnnounce struct {
	a       *adoptedCall
	attempt int
}

// ask has the session with the recipient announce it.
func (a *adoptedCall) ask() {
	s, err := a.from.s.vat.askReached(a.recipient, a.addrs, false, func(s *session) error {
		a.mu.Lock()
		a.at, a.next = s, nil
		if s.has(transport.FeatureCallForwarding) {
			a.next = a.answerIn(s)
		}
		m := &askAnnounce{a, a.attempt}
		a.mu.Unlock()
		if !s.post(m) {
			return s.why()
		}
		return nil
	})
	if err != nil {
		a.refused(0)
		return
	}
	s.wake()
}

// announceAdopted is the turn in which a is announced.
func (s *session) announceAdopted(m *askAnnounce) {
	a := m.a
	if !s.has(transport.FeatureCallForwarding) {
		s.emit(letGo(func() { a.refused(m.attempt) }))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.attempt != m.attempt {
		return
	}
	if a.to = a.next; a.to == nil {
		a.to = a.answerIn(s)
	}
	a.next = nil
	s.announceAs(a.to, a.key)
	s.emit(do(a.tell))
}

// answerIn is what will be the answer to the recipient, or the introducer, in the session s.
func (a *adoptedCall) answerIn(s *session) *answerRef {
	return &answerRef{s: s, mayAwait: true, adoption: a}
}

// announce makes an answer under an id of ours, and says so to the peer: "Answer IDs introduced by ThirdPartyAnswer
// must be in the range [2^30,2^31)." There is one at most for each call that some peer has made, or it is one that we give
// back: so there is no other bound.
func (s *session) announce(key provisionKey) *answerRef {
	ref := &answerRef{s: s, mayAwait: true}
	s.announceAs(ref, key)
	return ref
}

func (s *session) announceAs(ref *answerRef, key provisionKey) {
	ref.id = s.announced.take() + firstAnnounced
	s.answers.add(ref.id, &answer{ref: ref})
	m := newMessage()
	t := must(m.NewThirdPartyAnswer())
	t.SetAnswerId(ref.id)
	done := must(transport.NewToComplete(t.Segment()))
	check(key.introducer.Encode(must(done.NewIntroducer())))
	check(done.SetNonce(key.nonce[:]))
	check(t.SetCompletion(done.ToPtr()))
	s.send(m)
}

// Ids that the callee chooses.
const (
	firstAnnounced = 1 << 30
	endAnnounced   = 1 << 31
)

func isAnnounced(id uint32) bool { return id >= firstAnnounced && id < endAnnounced }

// forwarded implements sink.
func (a *adoptedCall) forwarded(q *questionRef) {
	q.hold()
	a.from.forwarded(q)
	a.mu.Lock()
	if a.over {
		q.s.vat.later(q.drop)
	} else {
		a.q = q
	}
	a.mu.Unlock()
	a.tell()
}

// setEarly implements sink.
func (a *adoptedCall) setEarly(r result) {
	mine, theirs := r.split()
	a.from.setEarly(theirs)
	a.mu.Lock()
	if a.over {
		a.from.s.vat.later(mine.free)
	} else {
		a.early = &mine
	}
	a.mu.Unlock()
	a.tell()
}

// settle implements sink. The recipient's answer is told first: the introducer's ends the call's flight.
func (a *adoptedCall) settle(r result) {
	mine, theirs := r.split()
	a.mu.Lock()
	if a.over {
		a.from.s.vat.later(mine.free)
	} else {
		a.res = &mine
	}
	waiting := a.to == nil && !a.back && !a.over && (a.at == nil || a.at.hello.Load() == nil)
	attempt := a.attempt
	a.mu.Unlock()
	if waiting {
		a.refused(attempt)
	}
	a.tell()
	a.from.settle(theirs)
}

// tell lets the recipient's answer know what there is to know.
func (a *adoptedCall) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.to == nil || a.over {
		return
	}
	if a.q != nil && !a.told && a.res == nil {
		a.told = true
		a.q.hold()
		a.to.forwarded(a.q)
	}
	give := func(kept **result, given *bool, to func(result)) {
		if *kept != nil && !*given {
			*given = true
			mine, theirs := (*kept).split()
			*kept = &mine
			to(theirs)
		}
	}
	if a.res == nil {
		give(&a.early, &a.piped, a.to.setEarly)
	}
	give(&a.res, &a.settled, a.to.settle)
}

// passOn is the recipient's answer, and the introducer's, of a call that is about to be forwarded once more; nil where the
// session with the recipient is not there yet.
func (a *adoptedCall) passOn() (to, from *answerRef) {
	a.mu.Lock()
	defer a.mu.Unlock()
	to = a.to
	if to == nil {
		to = a.next
	}
	if to == nil || a.over {
		return nil, nil
	}
	a.away = true
	return to, a.from
}

// refused: the recipient cannot be told, at that attempt, or is lost. The call is given back to the introducer; if that
// one cannot be told either nobody waits any more.
func (a *adoptedCall) refused(attempt int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.attempt != attempt {
		return
	}
	a.attempt++
	a.to, a.next, a.told, a.piped, a.settled = nil, nil, false, false, false
	if a.away && a.res == nil {
		a.res = &result{err: disconnected("connection to %s lost, to which the call was to be answered", a.recipient.Short())}
	}
	if s := a.from.s; !a.back && !a.left && s.post(&askAnnounce{a, a.attempt}) {
		a.back = true
		s.wake()
		return
	}
	a.end()
	a.from.s.tellOr(&nobodyWaits{a.from}, a.from.stop)
}

// lost: the session in which to was announced has ended.
func (a *adoptedCall) lost(to *answerRef) {
	a.mu.Lock()
	mine, attempt := a.to == to, a.attempt
	a.mu.Unlock()
	if mine {
		a.refused(attempt)
	}
}

// finished: the recipient has finished its answer.
func (a *adoptedCall) finished(to *answerRef) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.to != to || a.over {
		return
	}
	a.end()
	if a.left {
		a.from.s.tellOr(&nobodyWaits{a.from}, a.from.stop)
	}
}

// leave: the introducer has finished its answer, or is lost. It reports whether nobody waits for the call now. One that
// was forwarded once more is announced all the same: by that the recipient knows what the next vat announces.
func (a *adoptedCall) leave() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = true
	if a.to == nil && !a.away && !a.over {
		a.end()
	}
	return a.over
}

// awaited says whether the recipient, or the introducer that it was given back to, still waits for the results.
func (a *adoptedCall) awaited() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.over
}

// end frees what is kept for the recipient. The caller holds a.mu.
func (a *adoptedCall) end() {
	a.over = true
	v := a.from.s.vat
	if a.q != nil {
		v.later(a.q.drop)
	}
	for _, r := range []*result{a.early, a.res} {
		if r != nil {
			v.later(r.free)
		}
	}
	a.q, a.early, a.res = nil, nil, nil
}

// adoptedFinished takes the Finish of either answer of an adopted call.
func (s *session) adoptedFinished(a *answer) {
	ref, ad := a.ref, a.ref.adoption
	switch {
	case ad == nil:
	case ad.from == ref:
		s.emit(letGo(func() {
			if ad.leave() {
				ref.letGoOfLeft()
			}
		}))
	case !a.returned && len(a.pipe.queue) == 0:
		// Nobody waits for the results in this session, nor for what is pipelined.
		s.emit(letGo(func() {
			ad.finished(ref)
			ref.settleIfRunning()
		}))
	}
}

// forgetAnnounced: an answer is gone, and its id is free again if that was ours to choose.
func (s *session) forgetAnnounced(ref *answerRef) {
	if !isAnnounced(ref.id) {
		return
	}
	s.announced.giveBack(ref.id - firstAnnounced)
	if ad := ref.adoption; ad != nil {
		s.emit(letGo(func() { ad.finished(ref) }))
	}
}

// nobodyWaits: nobody waits for the call of the answer any more, unless something is pipelined on it.
type nobodyWaits struct{ ref *answerRef }

// tellOr is tell, and otherwise for a session that has ended.
func (s *session) tellOr(m any, otherwise func()) {
	if !s.post(m) {
		otherwise()
		return
	}
	s.wake()
}

// onThirdPartyAnswer: the peer answers a call that somebody has forwarded to it, under an id that it has chosen.
func (s *session) onThirdPartyAnswer(t rpc.ThirdPartyAnswer) error {
	id := t.AnswerId()
	if !isAnnounced(id) || s.questions.has(id) {
		return fault("ThirdPartyAnswer %d: its id is not in [2^30, 2^31), or in use", id)
	}
	what, err := s.readCompletion(t.Completion())
	switch {
	case err != nil:
		return err
	case len(what.Forwards) > 0:
		return fault("ThirdPartyAnswer with a forwarded contact: there are none for calls")
	}
	if n := s.vat.limits.Questions; s.questions.len() >= 2*n {
		return s.faultLimit("Questions", n) // announced, and never returned: as many again as ours
	}
	key := provisionKey{what.Introducer, what.Nonce}
	q := newQuestionRef(s, 1)
	q.id, q.asked = id, true
	q.entry.ref, q.entry.unclaimed = q, true
	s.questions.add(id, q.entry)
	s.emit(do(func() { s.vat.answered(key, s.peer, q) }))
	return nil
}

// claimed: the ThirdPartyAnswer that q stands for was awaited: to gets what it returns.
type claimed struct {
	q   *questionRef
	to  sink
	ctx *callContext // the caller's; nil: it is watched elsewhere
}

// claim has to get what q returns. It enqueues.
func (q *questionRef) claim(to sink, ctx *callContext) {
	q.s.tellOr(&claimed{q, to, ctx}, func() { to.settle(result{err: q.s.why()}) })
}

func (s *session) claimed(m *claimed) {
	if m.q.gone != nil {
		err := m.q.gone
		s.emit(letGo(func() { m.to.settle(result{err: err}) }))
		return
	}
	x := s.questions.get(m.q.id)
	x.unclaimed, x.to = false, m.to
	if x.awaits != nil && x.awaits.by != nil {
		m.q.ctx = m.ctx
		if entry := *x; s.takeOver(&entry) {
			return
		}
	}
	switch {
	case x.returned:
		s.hand(x, x.res)
		s.maybeFinish(m.q.id)
	case m.ctx != nil:
		s.emit(do(func() { m.q.watchCaller(m.ctx) }))
	}
}

// split is r as two results, each of which is to be freed.
func (r result) split() (result, result) {
	if r.cap != nil {
		other := r.cap.again()
		return r, result{cap: &other}
	}
	if r.release != nil || r.msg != nil {
		all := r
		r.msg, r.ready = nil, false
		r.release = afterTwo(all.free)
	}
	return r, r
}

// afterTwo runs f when it was called twice.
func afterTwo(f func()) func() {
	var left atomic.Int32
	left.Store(2)
	return func() {
		if left.Add(-1) == 0 {
			f()
		}
	}
}
