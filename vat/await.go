package vat

import (
	"context"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A call of ours may be forwarded by who got it: its Return then says that a third party answers. That one sends a
// ThirdPartyAnswer, which makes a question of ours in its session: the answer, as far as we are concerned. rpc.capnp has
// no embargo for this, so order is kept here:
//
//   - Where nothing was pipelined on the call yet, the new question takes the place of the old one, which is
//     finished: what is pipelined from now on takes the new road, and the forwarder is out of it.
//   - Otherwise what is pipelined stays on the old road until the results come, by the new one. A capability in them on
//     which calls were pipelined is kept back until these were all answered, or a no-op that was sent behind them is. Of one
//     that was given up, or whose answer another vat has announced, it is not known whether it has been delivered.
//
// The old question lasts until then: its Return has come, but its result has not (question.awaits).

// onAwait obeys Return.awaitFromThirdParty: "the caller should expect to receive a ThirdPartyAnswer from some other vat".
func (s *session) onAwait(id uint32, q *questionRef, r rpc.Return) error {
	of, n, _, _, err := readAwait(r.AwaitFromThirdParty())
	switch {
	case err != nil:
		return err
	case n == nil || !s.has(transport.FeatureCallForwarding):
		return fault("Return of question %d from a third party, without a nonce or where that was not allowed", id)
	}
	w := &awaited{key: provisionKey{s.peer, *n}, of: of}
	given, isCall := false, false
	s.questions.visit(id, func(x *question) {
		given, isCall = x.finished, x.finished || x.to != nil || x.unclaimed
		if !given && isCall {
			x.awaits, x.taking = w, true
		}
	})
	switch {
	case !isCall:
		return fault("Return of question %d from a third party, but it is no call", id)
	case given:
		s.emit(letGo(func() { s.vat.stopAwaiting(w.key, of) }))
		return s.returned(id, result{err: errCanceled}, false)
	}
	w.unexpire = q.expireAwait(of)
	s.emit(do(func() {
		new := s.vat.awaitAnswer(w.key, of, func(by *questionRef) { s.tellOr(&adopted{q, by}, by.drop) })
		if !new {
			s.fault("Return of a question from a third party, with a nonce that was used before")
		}
	}))
	return nil
}

// awaited is what a question waits for whose Return named a third party.
type awaited struct {
	key      provisionKey
	of       transport.VatID
	by       *questionRef // the third party's answer, once it has come, where it did not take the place of this one
	unexpire func()
}

type (
	// adopted: by stands for the answer that q awaits.
	adopted struct{ q, by *questionRef }
	// adoptedMoved: the answer that q awaits is to come as to, and no longer as from. Both are held.
	adoptedMoved struct{ q, from, to *questionRef }
	// adoptedResult is what came of it.
	adoptedResult struct {
		q   *questionRef
		res result
	}
	// cancelAwait gives up a question if it still waits for the third party to show up.
	cancelAwait struct {
		q   *questionRef
		err error
	}
	// whenAnswered lets the calls of n go when nothing is under way that is pipelined where they were.
	whenAnswered struct{ n *noOp }
)

// A mover is a sink that may be answered by another question than it was.
type mover interface {
	// moved says whether to can take the place of from, on which nothing was sent: the sink lets go of from then, and
	// holds to. It is called in a turn of from's session.
	moved(from, to *questionRef) bool
}

// adopted: the third party's answer is here, if not its results. Where q is an answer of that kind itself, and its Return
// has come before the news that it was awaited, what is to be done waits for that, and no longer than the answer itself
// may: two of them may await each other.
func (s *session) adopted(m *adopted) {
	var x question
	open := m.q.gone == nil && s.questions.visit(m.q.id, func(e *question) { x = *e }) &&
		x.awaits != nil && !x.finished && !x.returned
	if !open {
		s.emit(letGo(m.by.drop))
		return
	}
	x.awaits.by = m.by
	if !x.unclaimed {
		s.takeOver(&x)
	}
}

// takeOver has the answer that the question x awaits, and which is announced, take its place, or else bring its results.
// It reports which.
func (s *session) takeOver(x *question) (inPlace bool) {
	q, by, to := x.ref, x.awaits.by, x.to
	x.awaits.unexpire()
	if m, ok := to.(mover); !ok || len(x.pipelined) > 0 || !m.moved(q, by) {
		s.emit(do(func() { by.claim(adoptedSink{q}, nil) }))
		return false
	}
	s.questions.visit(q.id, func(e *question) { e.awaits, e.finished, e.to, e.on = nil, true, nil, nil })
	s.send(msgFinish(q.id))
	s.emit(letGo(func() { by.claim(to, q.ctx) }))
	if x.on != nil {
		s.pipelinedLeft(x.on)
	}
	check(s.returned(q.id, result{}, false))
	return true
}

// moved implements mover.
func (a *promisedAnswer) moved(from, to *questionRef) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.on != from || a.pipe.sent || a.pipe.closing || a.pipe.res != nil {
		return false
	}
	a.on, a.pipe.on = to, to
	a.vat.later(from.drop)
	return true
}

// moved implements mover.
func (s countedSink) moved(from, to *questionRef) bool {
	m, ok := s.sink.(mover)
	return ok && m.moved(from, to)
}

// adoptedSink brings the results of the new question to the old one.
type adoptedSink struct{ q *questionRef }

var _ sink = adoptedSink{}

// forwarded implements sink. The call went out long ago.
func (a adoptedSink) forwarded(q *questionRef) { q.drop() }

// moved implements mover: who was to answer has forwarded the call once more, and is out of it.
func (a adoptedSink) moved(from, to *questionRef) bool {
	from.s.emit(letGo(func() { a.q.s.tellOr(&adoptedMoved{a.q, from, to}, to.drop) }))
	return true
}

// setEarly implements sink. No method of ours has the call.
func (a adoptedSink) setEarly(r result) { a.q.s.vat.later(r.free) }

// settle implements sink.
func (a adoptedSink) settle(r result) {
	a.q.s.tellOr(&adoptedResult{a.q, r}, func() { a.q.s.vat.later(r.free) })
}

// adoptedMoved has the question hold to instead of from.
func (s *session) adoptedMoved(m *adoptedMoved) {
	over := m.to
	if m.q.gone == nil {
		s.questions.visit(m.q.id, func(x *question) {
			if x.awaits != nil && x.awaits.by == m.from {
				x.awaits.by, over = m.to, m.from
			}
		})
	}
	s.emit(letGo(over.drop))
}

// adoptedResult takes the results, by the new road.
func (s *session) adoptedResult(m *adoptedResult) error {
	var x question
	if m.q.gone == nil {
		s.questions.visit(m.q.id, func(e *question) {
			if x = *e; x.awaits != nil {
				e.awaits, e.taking = nil, false
			}
		})
	}
	if x.awaits == nil {
		s.emit(letGo(func() { s.vat.later(m.res.free) }))
		return nil
	}
	s.emit(letGo(x.awaits.by.drop))
	if m.res.err == nil && (x.inFlight > 0 || x.astray) && !m.res.plain && m.res.content.Message() != nil && !s.vat.breaks(hook.NewRoad) {
		table := m.res.content.Message().CapTable()
		for i, path := range pathsTo(m.res.content, x.pipelined) {
			if i < table.Len() {
				table.Set(capnp.CapabilityID(i), s.keptBack(table.At(i), m.q, path))
			}
		}
	}
	return s.returned(m.q.id, m.res, false)
}

// letGoOfAwaited: the question that waits is given up.
func (s *session) letGoOfAwaited(w *awaited) {
	w.unexpire()
	s.emit(letGo(func() { s.vat.stopAwaiting(w.key, w.of) }))
	if w.by != nil {
		s.emit(letGo(w.by.drop))
	}
}

// cancelAwait: nobody came.
func (s *session) cancelAwait(m *cancelAwait) {
	late := false
	if m.q.gone == nil {
		s.questions.visit(m.q.id, func(x *question) { late = x.awaits != nil && (x.awaits.by == nil || x.unclaimed) })
	}
	if late {
		s.vat.exceeded("Awaited")
		s.questionCanceled(m.q, m.err)
	}
}

// keptBack is a client for c, which it takes over: calls on it wait until all that was pipelined on path of q has been
// delivered.
func (s *session) keptBack(c capnp.Client, q *questionRef, path []capnp.PipelineOp) capnp.Client {
	client, ref := s.vat.newReference(nil, true)
	n := &noOp{s: s, behind: q, ref: ref, c: c}
	s.sendCall(wireTarget{onAnswer: true, id: q.id, path: path}, &call{
		vat:    s.vat,
		ctx:    context.Background(),
		method: capnp.Method{InterfaceID: transport.NoOp_TypeID},
		ret:    n,
	}, q)
	return client
}

// A noOp is the sink of a call that asks for nothing. Answered, it says that all that went before it has been delivered:
// the one who answered was the last on the way, and knows no such interface, or it was null, or broken. An answer of
// somebody on the way says no such thing: one without room has passed the earlier calls on, and they may still be under
// way; one that has lost the rest of the way cannot say what became of them.
type noOp struct {
	s      *session
	behind *questionRef // what the calls before were pipelined on
	ref    *reference   // keeps the calls back
	c      capnp.Client // where they go then; owned
	q      *questionRef
	over   error // there was no room for it
}

var _ sink = (*noOp)(nil)

// forwarded implements sink.
func (n *noOp) forwarded(q *questionRef) { n.q = q }

// setEarly implements sink. Nothing is pipelined on it.
func (n *noOp) setEarly(r result) { n.s.vat.later(r.free) }

// settle implements sink.
func (n *noOp) settle(r result) {
	v := n.s.vat
	v.later(r.free)
	if n.q != nil {
		n.q.drop()
	}
	switch exc.TypeOf(r.err) {
	case exc.Disconnected:
		n.fail(r.err)
	case exc.Overloaded:
		n.over = r.err
		n.s.tellOr(&whenAnswered{n}, func() { n.fail(n.s.why()) })
	default:
		n.pass()
	}
}

// pass lets the calls go.
func (n *noOp) pass() {
	n.ref.settle(n.c)
	n.s.vat.later(n.c.Release)
}

// fail breaks what the calls are on.
func (n *noOp) fail(why error) {
	n.ref.breakWith(why)
	n.s.vat.later(n.c.Release)
}

// without lets the calls go where all that was pipelined has been answered. Where some of it went astray that says nothing.
func (n *noOp) without(astray bool) {
	if astray {
		n.fail(n.over)
	} else {
		n.pass()
	}
}

// whenAnswered waits for what is pipelined on a question.
func (s *session) whenAnswered(m *whenAnswered) {
	wait, astray := false, false
	if q := m.n.behind; q.gone == nil {
		s.questions.visit(q.id, func(x *question) {
			astray = x.astray
			if wait = x.inFlight > 0; wait {
				x.answered = append(x.answered, m.n)
			}
		})
	}
	if !wait {
		s.emit(letGo(func() { m.n.without(astray) }))
	}
}
