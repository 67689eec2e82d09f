package vat

import (
	"context"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A question is a Call, Bootstrap, Accept or Provide of ours.
//
// States: asked; returned (a Return came); finished (a Finish went out). Returned and finished may come in
// either order, each happens at most once, and the id is free after both ("A question ID can be reused once
// both a matching Return has been received and a matching Finish has been sent").
//
// It is finished when nobody holds it and nothing pipelined on it is under way: a Finish before the Return
// cancels, and what is pipelined still needs it. With a Return that needs no Finish it is finished at once.
type question struct {
	ref *questionRef
	to  sink       // a call: who gets its result
	at  *reference // Bootstrap, Accept: what settles on its result

	returned  bool
	finished  bool
	dropped   bool // nobody holds it
	kept      bool // its results went to a third party
	noFinish  bool // the peer needs no Finish
	taking    bool // a Return said whose results it is to take, and they are not here
	unclaimed bool // of a ThirdPartyAnswer: nobody is known yet who waits for it
	astray    bool // one that was pipelined on it is over here, and may be on the way still
	accept    bool

	inFlight  int32 // pipelined on it, and not returned
	pipelined [][]capnp.PipelineOp
	answered  []*noOp // whose calls go when inFlight is zero
	unsure    *call   // of a call in sent of an Accept's wholeResult: kept, in case the Accept fails
	on        *questionRef
	params    []uint32 // exports that went out in its parameters
	awaits    *awaited

	// After the Return, for what was addressed to the question before and is still in the mailbox.
	res  result
	pins []pin
}

// ask gives q an id and an entry.
func (s *session) ask(q *questionRef, entry *question) uint32 {
	entry.ref, q.entry = q, entry
	q.id, q.asked = s.questions.addNew(entry), true
	return q.id
}

// questionRoom says why no further question can be asked, if so.
func (s *session) questionRoom() error {
	if n := s.vat.limits.Questions; s.questions.len() >= n {
		return s.vat.beyondLimit("Questions", n, "questions to "+s.peer.Short())
	}
	return nil
}

// sendCall asks a call, pipelined on the question on where that is not nil.
func (s *session) sendCall(target wireTarget, c *call, on *questionRef) {
	err := s.questionRoom()
	if c.ctx.Err() != nil {
		err = callerError(c.ctx)
	}
	if err != nil {
		s.reject(c, err)
		return
	}
	unsure := s.undecided(on)
	asIs := c.prepared && !unsure // unsure, it may have to be sent once more
	call, err := s.buildCall(target, c, asIs)
	if err != nil {
		s.reject(c, err)
		return
	}
	var away *forwarding
	if !unsure {
		away = s.forwardingOf(c)
	}
	if away != nil {
		away.direct(call)
		c.ret = away
	}
	k := c.question
	if c.question = nil; k == nil {
		k = new(asked)
	}
	q, entry := k.init(s, 1), &k.entry
	entry.to, entry.on = c.ret, on
	if unsure {
		entry.unsure = c
		on.whole.used, on.whole.sent = true, append(on.whole.sent, q)
	}
	keep := !unsure && s.mayKeep(c)
	call.SetQuestionId(s.ask(q, entry))
	if pins := s.vat.pinTable(call.Message()); len(pins) > 0 {
		entry.params = s.writeCaps(must(call.Params()), pins)
	}
	entry.kept = keep || away != nil
	if on != nil {
		s.questions.visit(on.id, func(x *question) { x.sentPipelined(target.path) })
	}
	if keep {
		s.keepResults(call, c, q)
	}
	if asIs {
		c.msg = nil // it is sent, and not the call's to release any more
	}
	s.emit((*sendFrame)(call.Message()))
	s.flushBroken()
	c.sent, c.sentAs = q, sentAs{unsure, keep}
	s.emit((*callSent)(c))
}

// watchCaller has q canceled when its caller gives up. Calls without a caller have another context.
func (q *questionRef) watchCaller(ctx context.Context) {
	if c, ok := ctx.(*callContext); ok {
		q.ctx = c
		c.askedAs(q)
	}
}

// unwatchCaller is for a question that is over.
func (q *questionRef) unwatchCaller() {
	if q.ctx != nil {
		q.ctx.answeredAs(q)
	}
}

func (x *question) sentPipelined(path []capnp.PipelineOp) {
	x.inFlight++
	for _, p := range x.pipelined {
		if samePath(p, path) {
			return
		}
	}
	x.pipelined = append(x.pipelined, path)
}

func samePath(a, b []capnp.PipelineOp) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Field != b[i].Field {
			return false
		}
	}
	return true
}

// buildCall writes all of a Call but its question id and its capabilities, into the message that c was prepared in or
// another.
func (s *session) buildCall(target wireTarget, c *call, asIs bool) (call rpc.Call, err error) {
	if asIs {
		call = rpc.Call(c.content)
	} else {
		call = must(newMessage().NewCall())
		if err = must(call.NewParams()).SetContent(c.args().ToPtr()); err != nil {
			err = failed("parameters cannot be copied: %v", err)
		}
	}
	target.encode(must(call.NewTarget()))
	call.SetInterfaceId(c.method.InterfaceID)
	call.SetMethodId(c.method.MethodID)
	call.SetAllowThirdPartyTailCall(s.has(transport.FeatureCallForwarding))
	if err == nil {
		err = s.tooLarge(call.Message(), "parameters")
	}
	if err != nil && !asIs {
		s.vat.recycleLater(call.Message())
	}
	return call, err
}

// newArgsHere makes a place for the parameters of a call that goes to no peer.
func (c *call) newArgsHere(size capnp.ObjectSize) (args capnp.Struct, err error) {
	seg := newSegment()
	c.msg = seg.Message()
	c.content, err = capnp.NewRootStruct(seg, size)
	return c.content, err
}

// newArgs makes a Call around the parameters of a call that local code makes, so that they are not copied where it
// goes to a peer.
func (c *call) newArgs(size capnp.ObjectSize) (args capnp.Struct, err error) {
	whole := must(newMessage().NewCall())
	payload := must(whole.NewParams())
	c.msg, c.content, c.prepared = payload.Message(), capnp.Struct(whole), true
	if args, err = capnp.NewStruct(payload.Segment(), size); err != nil {
		return args, err
	}
	return args, payload.SetContent(args.ToPtr())
}

// putPipeline takes a parcel addressed to a question: onto the wire behind it, or to what it returned.
func (s *session) putPipeline(m *toPipeline) {
	q := m.q
	if w := q.whole; w != nil && w.instead != nil {
		s.deliver(w.instead, m.parcel)
		return
	}
	if q.gone != nil || !q.asked {
		err := q.gone
		if err == nil {
			err = failed("pipelined on a call that was never made")
		}
		s.emit(letGo(func() { m.parcel.reject(err) }))
		return
	}
	var to road
	var callers pin
	s.questions.visit(q.id, func(x *question) {
		if !x.returned || x.kept {
			return
		}
		to = x.res.at(m.path, x.pins)
		if i, err := x.res.indexOf(m.path, len(x.pins)); err == nil && m.follows {
			// Where the pin ends a peer may have been told, and those who follow may have moved on from there. What this
			// caller calls next goes with them, and so does this.
			callers = s.vat.followed(x.pins[i])
		}
	})
	switch {
	case callers.road != nil:
		s.deliver(callers.road, m.parcel)
		s.freeLater(callers)
		return
	case to != nil:
		s.putDirect(to, m.parcel)
		return
	}
	s.putWire(wireTarget{onAnswer: true, id: q.id, path: m.path}, m.parcel, q)
}

// putDirect puts p, which was put on a question before that returned, on the road to what it returned. On an import of
// this session it is delivered within the turn: behind it in the mailbox there may be parcels that came later. That is
// so as long as nothing has been sent behind which callers go another way, for in the mailbox p is ahead of that.
func (s *session) putDirect(to road, p parcel) {
	i, ok := to.(*importRef)
	if f, fixed := to.(fixedRef); fixed && f.r.born != nil && f.r.born.s == s && !f.r.born.gone {
		i, ok = f.r.born, true
	}
	if ok && i.s == s && !s.vat.breaks(hook.Direct) {
		s.putImport(i, p)
		return
	}
	s.deliver(to, p)
}

// putWire sends a parcel to the peer.
func (s *session) putWire(target wireTarget, p parcel, on *questionRef) {
	switch p := p.(type) {
	case *call:
		s.sendCall(target, p, on)
	case *disembargo:
		s.passDisembargo(target, p)
	}
}

func (s *session) questionDropped(q *questionRef) {
	if q.gone != nil || !q.asked || q.holds.Load() > 0 { // somebody took hold of it meanwhile, and will say when not
		return
	}
	var nobodys result
	s.questions.visit(q.id, func(x *question) {
		x.dropped = true
		if x.unclaimed && x.returned {
			nobodys = x.res
		}
	})
	s.freeResult(nobodys)
	s.maybeFinish(q.id)
}

// questionCanceled: the caller gave up, whatever is pipelined.
func (s *session) questionCanceled(q *questionRef, err error) {
	if q.gone != nil || !q.asked {
		return
	}
	var x question
	s.questions.visit(q.id, func(e *question) {
		if !e.returned && !e.finished {
			x = e.giveUp()
		}
	})
	s.givenUp(x, err)
}

// giveUp finishes a question before its Return. Who waits for it is told once, by givenUp.
func (x *question) giveUp() (was question) {
	was = *x
	x.finished, x.to, x.on, x.awaits = true, nil, nil, nil
	return was
}

// givenUp sends the Finish and tells who waits: the caller, and the question that this one was pipelined on,
// which need not stay for it any longer.
func (s *session) givenUp(x question, err error) {
	if x.ref == nil {
		return
	}
	s.send(msgFinish(x.ref.id))
	if x.to != nil {
		s.emit(settleCall{x.to, result{err: err}})
	}
	if x.on != nil {
		s.pipelinedLeft(x.on)
	}
	if x.awaits != nil {
		s.letGoOfAwaited(x.awaits)
	}
	if x.taking { // its Return has come
		check(s.returned(x.ref.id, result{err: err}, false))
	}
}

// maybeFinish sends the Finish if it is due, and forgets the question if all is done.
func (s *session) maybeFinish(id uint32) {
	x := s.questions.get(id)
	if x == nil {
		return
	}
	switch {
	case x.finished || x.inFlight > 0:
	case x.returned && x.noFinish && x.res.plain && !x.unclaimed:
		x.finished = true // for the peer it is over, whoever holds it still
	case !x.dropped:
	case !x.returned:
		s.givenUp(x.giveUp(), errCanceled)
		return
	default:
		x.finished = true
		if !x.noFinish {
			s.send(msgFinish(id))
		}
	}
	if x.finished && (x.returned || s.vat.breaks(hook.EarlyID)) {
		s.forget(id, x.ref)
	}
}

// forget removes a question that is both returned and finished; its id may be used again.
func (s *session) forget(id uint32, q *questionRef) {
	x := s.questions.get(id)
	pins := x.pins
	s.emit((*endQuestion)(q))
	q.gone = errFinished
	if x.res.plain {
		q.gone = errNull // for what is pipelined on it, which may come yet
	}
	s.questions.remove(id)
	if !isAnnounced(id) {
		s.questions.ids.giveBack(id)
	}
	s.freeLater(pins...)
}
