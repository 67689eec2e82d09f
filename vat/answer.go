package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// An answer is a Call, Bootstrap, Accept or Provide of the peer's.
//
// States: running (no Return went out: what the peer pipelines waits in pipe, here and nowhere else, or
// follows the call onto another wire); returned; finished (a Finish came). Exactly one Return goes out. The
// entry goes when it is both returned and finished.
type answer struct {
	ref  *answerRef
	pipe pipeline
	size int // of the results, as counted against Limits.ResultBytes

	returned  bool
	finished  bool
	hasParams bool     // there were capabilities in the parameters
	results   []uint32 // exports that went out in the results
	feeds     []feed   // promises of ours that stand for parts of the results

	yourself bool         // its results are for a question of ours, not for the peer
	taker    *questionRef // that question, once known
	away     *forwarding  // its results went to somebody else
	provide  bool
	provides *provisionRef // of a Provide, unless it was over before it came: the recipient had let go
	accepts  *provisionRef
}

// newAnswer makes the entry for a message that introduces a question. a has a ref.
func (s *session) newAnswer(id uint32, a *answer) (*answerRef, error) {
	if s.answers.has(id) {
		return nil, fault("question %d is asked already", id)
	}
	if isAnnounced(id) && s.has(transport.FeatureCallForwarding) {
		return nil, fault("question %d: an id of [2^30, 2^31) is the callee's to choose", id)
	}
	if n := s.vat.limits.Answers; s.answers.len() >= n {
		return nil, s.faultLimit("Answers", n)
	}
	a.ref.s, a.ref.id = s, id
	s.answers.add(id, a)
	return a.ref, nil
}

// answered is the memory of any other answer.
type answered struct {
	entry answer
	ref   answerRef
}

func newAnswered() *answer {
	a := new(answered)
	a.entry.ref = &a.ref
	return &a.entry
}

// incoming is the memory of a call of the peer's.
type incoming struct {
	entry    answer
	ref      answerRef
	call     call
	ctx      callContext
	returner returner
}

// onCall obeys "Message type initiating a method call on a capability".
func (s *session) onCall(c rpc.Call) error {
	target, err := decodeTarget(c.Target())
	if err != nil {
		return err
	}
	params, err := c.Params()
	if err != nil {
		return fault("unreadable parameters: %v", err)
	}
	content, err := params.Content()
	if err != nil {
		return fault("unreadable parameters: %v", err)
	}
	in := new(incoming)
	in.entry.ref, in.entry.hasParams, in.entry.yourself = &in.ref, params.HasCapTable(), wantsKept(c)
	ref, err := s.newAnswer(c.QuestionId(), &in.entry)
	if err != nil {
		return err
	}
	if err := s.readPayload(params, func(_ int, d rpc.CapDescriptor) (capnp.Client, error) { return s.readCap(d) }); err != nil {
		return err
	}
	in.ctx.Context, in.ctx.all = s.vat.ctx, &s.vat.watches
	ref.ctx = &in.ctx
	ref.mayAwait = c.AllowThirdPartyTailCall() && s.has(transport.FeatureCallForwarding) && !in.entry.yourself
	x := &in.call
	x.vat, x.ctx, x.ret, x.returner = s.vat, &in.ctx, ref, &in.returner
	x.method = capnp.Method{InterfaceID: c.InterfaceId(), MethodID: c.MethodId()}
	x.content, x.msg = content.Struct(), c.Message() // not that of params, which may be null
	ref.flight.begin(x)
	err = s.flow.admit(s.vat, x, c.Message())
	if late := s.admitLate(target); late != nil {
		err = late
	}
	if err != nil {
		s.emit(do(func() { x.reject(err) }))
		return nil
	}
	if c.SendResultsTo().Which() == rpc.Call_sendResultsTo_Which_thirdParty {
		if err := s.sendElsewhere(c, x, ref); err != nil {
			return err
		}
	}
	if target.onAnswer {
		return s.putAnswer(target, x)
	}
	var to road
	if !s.exports.visit(target.id, func(e *export) {
		to = e.road
		_, promised := to.(*promise)
		x.passes = promised && !e.vine // who comes by a vine is not to be had by another road
	}) {
		return fault("call on export %d, which does not exist", target.id)
	}
	s.deliverCall(to, x)
	return nil
}

// putAnswer takes a parcel for what an answer will hold, or holds.
func (s *session) putAnswer(target wireTarget, p parcel) error {
	var d delivery
	now := false
	var on *answerRef
	if !s.answers.visit(target.id, func(a *answer) {
		if max := s.vat.limits.Pipelined; len(a.pipe.queue) >= max {
			d, now = delivery{brokenRoad{s.vat.beyondLimit("Pipelined", max, "calls that wait on one answer")}, p}, true
			return
		}
		if d, now = a.pipe.add(pipelined{path: target.path, parcel: p}); !now {
			on = a.ref
		}
	}) {
		if err := s.noAnswer("message for answer", target.id); err != nil {
			return err
		}
		d, now = delivery{brokenRoad{errNull}, p}, true
	}
	if now {
		s.handOn([]delivery{d})
	}
	if c, ok := p.(*call); ok && on != nil {
		if ref := c.answer(); ref != nil && ref.s == s {
			ref.waitsOn = on
		}
	}
	return nil
}

// handOn carries out what a pipeline wants delivered.
func (s *session) handOn(ds []delivery) {
	for _, d := range ds {
		switch p := d.parcel.(type) {
		case *call:
			if ref := p.answer(); ref != nil {
				ref.waitsOn = nil
			}
			p.passes = true
			s.deliverCall(d.to, p)
		case *liftKept:
			s.emit(do(p.lift))
		default:
			s.deliver(d.to, p)
		}
	}
}

// answerSettled: the results are here. What is pipelined is handed on, and the Return goes out, in one turn. An Accept
// may be settled twice, by its provision and by its deadline: the first counts.
func (s *session) answerSettled(m *settledAnswer) error {
	a, left := s.answers.get(m.ref.id), m.ref.left
	known := a != nil && a.ref == m.ref && a.pipe.res == nil
	var await *questionRef
	switch {
	case m.echoed:
	case left != nil:
		await = left.pipe.close()
	case known:
		await = a.pipe.close()
	}
	switch q := await; {
	case !known && left == nil:
		s.emit(letGo(func() { m.ref.orphaned(m.res) }))
	case q != nil:
		s.emit(letGo(func() {
			awaitEcho(q, func() { m.ref.post(&settledAnswer{m.ref, m.res, true}) })
		}))
	case left != nil:
		s.settleLeft(m.ref, &m.res)
	default:
		s.settleAnswer(m.ref.id, &m.res)
	}
	return nil
}

// settleAnswer takes over res, and what it points to. The Return goes out ahead of what is handed on: an early Return of that comes
// behind it.
//
// What the peer is told of a capability, and where its pipelined calls go, are one pin: with two, the capability
// could resolve in between, and the calls that the peer makes next take another road.
func (s *session) settleAnswer(id uint32, res *result) {
	*res = s.resultRoom(id, *res)
	a := s.answers.get(id)
	var r rpc.Return
	returns := !a.returned && !a.finished && !a.yourself
	if returns {
		r, *res = s.copyResult(*res)
	}
	pins := res.pins(s.vat)
	for i := range pins {
		if returns && !s.vat.breaks(hook.PinNever) {
			pins[i] = s.told(pins[i])
		}
	}
	q := a.pipe.on
	ds := a.pipe.settle(res, pins)
	a.pipe.endEarly(s.vat)
	if q != nil {
		s.emit(letGo(q.drop))
	}
	if !a.ref.early {
		s.emit((*stopCall)(a.ref))
	}
	switch {
	case a.returned: // elsewhere
	case a.finished:
		m, r := msgReturn(id)
		r.SetCanceled()
		s.returnMessage(id, m, r)
	case a.yourself:
		s.returnElsewhere(id)
	default:
		s.sendReturn(id, r, *res, pins)
	}
	if s.vat.breaks(hook.AnswerTurn) {
		s.handOnLater(ds)
	} else {
		s.handOn(ds)
	}
	if a.taker != nil {
		theirs := a.share()
		check(s.take(a.taker, theirs, pins))
	}
	s.settleParts(a, *a.pipe.res, pins)
	s.maybeForgetAnswer(id)
}

// handOnLater is what hook.AnswerTurn breaks.
func (s *session) handOnLater(ds []delivery) {
	s.tell(&echo{func() { s.handOn(ds); s.tell(&echo{func() {}}) }})
}

// settleParts gives the parts of a result to those who wait for them, promises of ours and provisions.
func (s *session) settleParts(a *answer, res result, pins []pin) {
	s.feed(a.feeds, res, pins)
	for _, k := range a.ref.kept {
		s.emit(letGo(func() { k.offer(res, pins) }))
	}
	if a.away != nil {
		s.answerInstead(a.away, a.share())
	}
}

// copyResult starts the Return of res, with its content, and is the result as it is there.
func (s *session) copyResult(res result) (rpc.Return, result) {
	if res.err != nil {
		return rpc.Return{}, res
	}
	if res.cap != nil {
		if err := s.exportRoom(1); err != nil {
			return rpc.Return{}, result{err: err, release: res.free}
		}
		r := must(newMessage().NewReturn())
		must(r.NewResults())
		return r, res
	}
	r, err := res.inReturn()
	if err == nil {
		err = s.tooLarge(r.Message(), "results")
	}
	switch {
	case err != nil:
		if !res.ready {
			s.vat.recycleLater(r.Message())
		}
		return rpc.Return{}, result{err: err, release: res.release, msg: res.msg}
	case !res.plain:
		return r, result{content: must(must(r.Results()).Content()), release: res.release}
	case !res.ready && res.msg != nil:
		recycle(res.msg)
	}
	return r, result{plain: true, release: res.release}
}

// inReturn is a Return with the content of r, which is copied unless it lies there already. Where it is
// not copied, the message of a plain result passes to who sends it.
func (r result) inReturn() (rpc.Return, error) {
	if r.ready {
		return must(must(rpc.ReadRootMessage(r.content.Message())).Return()), nil
	}
	ret := must(newMessage().NewReturn())
	if err := must(ret.NewResults()).SetContent(r.content); err != nil {
		return ret, failed("results cannot be copied: %v", err)
	}
	return ret, nil
}

// sendReturn sends the one Return of an answer, with r and res as from copyResult.
func (s *session) sendReturn(id uint32, r rpc.Return, res result, pins []pin) {
	if res.err != nil {
		m, r := msgException(id, res.err)
		s.returnMessage(id, m, r)
		return
	}
	if len(pins) > 0 {
		s.answers.get(id).results = s.writeResultCaps(must(r.Results()), res, pins)
	}
	r.SetAnswerId(id)
	s.returning(id, r)
	if res.plain {
		s.finishPlain(id, r)
	}
	if res.content.IsValid() && !res.plain {
		s.emit((*sendShared)(r.Message()))
	} else {
		s.emit((*sendFrame)(r.Message()))
	}
	s.flushBroken()
}

// writeResultCaps writes the capability table of res, with pins of its own, and returns the exports in it.
func (s *session) writeResultCaps(p rpc.Payload, res result, pins []pin) (exports []uint32) {
	if res.cap != nil {
		check(p.SetContent(capnp.NewInterface(p.Segment(), 0).ToPtr()))
	}
	mine := make([]pin, len(pins))
	for i := range pins {
		mine[i] = pins[i].again()
	}
	return s.writeCaps(p, mine)
}

// finishPlain spares the peer the Finish of an answer without capabilities: "the sender does not need the receiver to
// send a Finish message; its answer table entry has already been cleaned up". One that comes all the same, or a call
// that the peer had pipelined on the answer meanwhile, finds no entry, and that is no fault (see noAnswer).
func (s *session) finishPlain(id uint32, r rpc.Return) {
	if !s.has(transport.FeatureHandoff) || isAnnounced(id) { // the peer may not have claimed that yet
		return
	}
	r.SetNoFinishNeeded(true)
	s.spared = true
	s.answers.get(id).finished = true
}

// noAnswer is for a message about an answer that is not there: a fault, unless it was cleaned up for the peer.
func (s *session) noAnswer(what string, id uint32) error {
	if s.spared {
		return nil
	}
	return fault("%s %d, which does not exist", what, id)
}

func (s *session) returnMessage(id uint32, m rpc.Message, r rpc.Return) {
	s.returning(id, r)
	s.send(m)
	s.flushBroken()
}

// returning notes the one Return of an answer.
func (s *session) returning(id uint32, r rpc.Return) {
	s.answers.visit(id, func(a *answer) {
		if a.returned {
			panic("vat: second Return of an answer")
		}
		a.returned = true
		// The parameters' capabilities, if any, are given back one by one, when the last holder lets go.
		r.SetReleaseParamCaps(!a.hasParams && !a.ref.early)
	})
}

// onFinish obeys "Message type sent from the caller to the callee to indicate: (1) the questionId will no
// longer be used in any messages; (2) if the call has not returned yet, the caller no longer cares".
func (s *session) onFinish(f rpc.Finish) error {
	id := f.QuestionId()
	a := s.answers.get(id)
	if a == nil && s.spared {
		return nil // see finishPlain
	}
	if a == nil || a.finished {
		return fault("Finish of question %d, which is not open", id)
	}
	a.finished = true
	if f.ReleaseResultCaps() {
		for _, e := range a.results {
			if err := s.releaseExport(e, 1); err != nil {
				return err
			}
		}
	}
	s.provisionFinished(a)
	if !a.returned {
		s.cancelAnswer(id)
	}
	s.adoptedFinished(a)
	s.maybeForgetAnswer(id)
	return nil
}

func (s *session) maybeForgetAnswer(id uint32) {
	a := s.answers.get(id)
	if a == nil || !a.returned || !a.finished {
		return
	}
	pins := a.pipe.pins
	res := a.pipe.res
	switch {
	case res != nil:
	case a.away != nil:
		s.leftAway(a)
	case a.ref.aside:
		s.leftAside(a.ref, a.pipe.on)
	default:
		a.ref.left = a
		s.left[a.ref] = true
	}
	s.resultBytes -= a.size
	s.answers.remove(id)
	s.forgetAnnounced(a.ref)
	s.freeLater(pins...)
	if res != nil {
		s.freeResult(*res)
	}
}
