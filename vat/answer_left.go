package vat

// An answer whose results go to a third party is returned at once, and may be finished while its call still runs:
// its id is the peer's again, and calls that the peer had pipelined on it still wait. So what is left of it, its
// pipeline, and the promises that stand for parts of its results, are kept by its answerRef until the results are here.

// settleLeft hands the queue on to the results, which it takes over, and then tells the provisions: what they
// hand out is called no earlier than what waited.
func (s *session) settleLeft(ref *answerRef, res *result) {
	pins := res.pins(s.vat)
	left := ref.left
	on := left.pipe.on
	ds := left.pipe.settle(res, pins)
	left.pipe.endEarly(s.vat)
	ref.left = nil
	delete(s.left, ref)
	if on != nil {
		s.emit(letGo(on.drop))
	}
	s.handOn(ds)
	s.feed(left.feeds, *res, pins)
	left.feeds = nil
	s.emit(letGo(func() { ref.orphaned(*res) }))
	s.freeLater(pins...)
}

// letGoOfLeft cancels a call that neither the introducer nor the recipient cares for, unless something is pipelined
// on it.
func (a *answerRef) letGoOfLeft() {
	left := a.left
	if a.aside {
		return // what is left of it has been let go of
	}
	if left != nil {
		for _, p := range left.pipe.dropCanceled() {
			p.reject(errCanceled)
		}
	}
	switch {
	case left != nil && left.pipe.on != nil && !left.pipe.closing:
		// Its session knows what else is pipelined on it.
		q := left.pipe.on
		left.pipe.on = nil
		q.drop()
	case left == nil || len(left.pipe.queue) == 0:
		a.giveUp() // it may wait, and for itself: a peer can have it do so
	}
}

// leftLessPipelined: a call that waits in what is left was canceled, or went out on a wire.
func (s *session) leftLessPipelined(ref *answerRef) {
	s.emit(do(func() {
		if !ref.awaited() {
			ref.letGoOfLeft()
		}
	}))
}

// awaited says whether a third party still waits for the results.
func (a *answerRef) awaited() (yes bool) {
	if a.adoption != nil {
		return a.adoption.awaited()
	}
	for _, k := range a.kept {
		if k.provision != nil {
			k.provision.visit(func(p *provision) []outcome { yes = yes || p.awaited(); return nil })
		}
	}
	return yes
}

// unawaited: who waited for the results has left, after the introducer. It is called outside of turns of s, too.
func (a *answerRef) unawaited() { a.s.tellOr(&lessPipelined{a}, a.stop) }

// endLeft: what waits is rejected with the session, and what runs is canceled unless a third party has accepted
// its results.
func (s *session) endLeft(why error) {
	for ref := range s.left {
		ref.rejectLeft(why)
		if a := ref.adoption; a != nil {
			a.leave()
		}
		if !ref.awaited() {
			ref.stop()
			ref.flight.end()
		}
	}
	clear(s.left)
}

// rejectLeft is for the end of the session that asked.
func (a *answerRef) rejectLeft(why error) {
	left := a.left
	if left == nil {
		return
	}
	breakFeeds(a.s.vat, left.feeds, why)
	a.left, left.feeds = nil, nil
	left.pipe.endEarly(a.s.vat)
	for _, p := range left.pipe.queue {
		p.reject(why)
	}
	a.leave(left.pipe.on)
}

// leave lets go of q, on which the call went out, if it did, for the session that asked has ended; but not before a third
// party that awaits the results has them or has left.
func (a *answerRef) leave(q *questionRef) {
	switch {
	case q == nil:
	case a.ctx != nil && a.awaited():
		a.ctx.AfterFunc(q.drop)
	default:
		q.drop()
	}
}
