package vat

// close ends the session: why is what its calls fail with; abort, if not nil, is what the peer is told.
func (a *sessionActor) close(why, abort error) {
	s := a.s
	if s.end.Load() != nil {
		return
	}
	s.end.Store(&why)
	close(s.done)
	a.stir()
	s.vat.log.Debug("session ended", "peer", s.peer.Short(), "why", why)
	s.vat.forget(s)
	if abort != nil && a.link != nil {
		a.link.abort(msgAbort(abort))
	}
	a.letGo(why)
	s.vat.forwarderLost(s.peer)
	a.ctx.Stop(a.ctx.Self())
}

// letGo ends all that the session has.
func (a *sessionActor) letGo(why error) {
	s := a.s
	s.closing = true
	left := append(s.waiting, s.queue.Close()...)
	s.waiting, s.out, s.broken = nil, nil, nil
	for _, m := range left {
		a.refuse(m)
	}
	s.endQuestions(why)
	s.endEmbargoes(why)
	s.endImports(why)
	s.endAnswers(why)
	s.endLeft(why)
	s.endExports()
	for _, f := range s.last {
		f()
	}
	s.closing, s.last = false, nil
}

// refuse answers a message that came too late: nobody who waits for something is left waiting.
func (a *sessionActor) refuse(m any) { a.refuseWith(m, a.s.why()) }

func (a *sessionActor) refuseWith(m any, why error) {
	s := a.s
	switch m := m.(type) {
	case *callToImport:
		(*call)(m).reject(why)
	case *toImport:
		m.parcel.reject(why)
	case *toPipeline:
		if to := s.insteadOf(m.q, why); to != nil {
			to.put(m.parcel)
			to.wake()
			return
		}
		m.parcel.reject(why)
	case *toEmbargo:
		m.parcel.reject(why)
	case *askBootstrap:
		m.q.end(why)
		m.at.breakWith(why)
	case *askAccept:
		m.unsent(why)
		s.acceptFailed(m.q, m.at)
	case *askDisembargo:
		m.letGo()
	case *askProvide:
		m.q.end(why)
		m.target.drop()
	case *forwardedAnswer:
		m.ref.leave(m.q)
	case *earlyAnswer:
		s.vat.later(m.res.free)
	case *withdraw:
		m.q.drop()
	case *answerAway:
		m.q.drop()
	case *answerAside:
		m.q.drop()
	case *answerBack:
		m.q.drop()
	case *askAnnounce:
		m.a.refused(m.attempt)
	case *nobodyWaits:
		m.ref.stop()
	case *adopted:
		m.by.drop()
	case *adoptedMoved:
		m.to.drop()
	case *adoptedResult:
		s.vat.later(m.res.free)
	case *claimed:
		m.to.settle(result{err: why})
	case *whenAnswered:
		m.n.fail(why)
	case *settledAnswer:
		m.ref.orphaned(m.res)
	case *resolved:
		m.free(s.vat)
	case *echo:
		m.reached()
	case *shorten:
		m.apply(s.vat)
	case *opened:
		m.conn.Close()
	case *inspect:
		close(m.done)
	}
}

// endQuestions: questions fail with disconnected.
func (s *session) endQuestions(why error) {
	for _, x := range s.questions.drain() {
		if x.accept && !x.returned && !x.finished {
			s.acceptLost(x, why)
		}
		x.ref.end(why)
		x.ref.unwatchCaller()
		for i := range x.pins {
			s.vat.freeLater(&x.pins[i])
		}
		if x.unsure != nil {
			s.vat.later(x.unsure.releaseArgs)
		}
		for _, n := range x.answered {
			n.fail(why)
		}
		if w := x.awaits; w != nil {
			w.unexpire()
			s.vat.stopAwaiting(w.key, w.of)
			if w.by != nil {
				w.by.drop()
			}
		}
		away, _ := x.to.(*forwarding)
		switch {
		case x.unclaimed:
			s.vat.later(x.res.free)
		case away != nil:
			away.lost(why)
		case x.returned && x.res.release != nil:
			// Whoever got the result frees it.
		case x.to != nil && !x.returned:
			x.to.settle(result{err: why})
		case x.at != nil && !x.returned && !x.accept:
			x.at.breakWith(why)
		}
	}
}

// endEmbargoes: the Disembargo will not come back.
func (s *session) endEmbargoes(why error) {
	for _, x := range s.embargoes.drain() {
		for _, p := range x.queue {
			p.reject(why)
		}
		if !x.lifted { // otherwise the short cut has been taken: see refuse
			x.ref.breakWith(why)
			x.road.drop()
		}
	}
}

// endImports: imports break. A promise settles on the error; calls on the others are rejected as they come.
func (s *session) endImports(why error) {
	for _, x := range s.imports.drain() {
		if x.promise && !x.resolved {
			for _, h := range x.held {
				h.ref.breakWith(why)
			}
		}
	}
}

// endAnswers: answers are released, what runs is canceled; results that are kept for a third party stay.
func (s *session) endAnswers(why error) {
	if !s.retired.Load() {
		s.vat.introducerLost(s.peer, why)
	}
	lost := lost(s.peer, why)
	for _, x := range s.answers.drain() {
		for _, p := range x.pipe.queue {
			p.reject(why)
		}
		for i := range x.pipe.pins {
			s.vat.freeLater(&x.pipe.pins[i])
		}
		x.pipe.endEarly(s.vat)
		kept := false
		for _, k := range x.ref.kept {
			if k.provision != nil {
				k.provision.visit(func(p *provision) []outcome {
					out := p.end(lost)
					kept = kept || p.awaited()
					return out
				})
			}
		}
		if x.pipe.res != nil {
			s.vat.later(x.pipe.res.free)
		} else {
			x.ref.leave(x.pipe.on)
			breakFeeds(s.vat, x.feeds, why)
		}
		if p := x.provides; p != nil {
			p.visit(func(p *provision) []outcome { p.provide = nil; return p.end(lost) })
		}
		if p := x.accepts; p != nil {
			p.leave(x.ref)
		}
		if x.away != nil && !x.away.yourself() {
			s.vat.stopAwaiting(x.away.key(), x.away.to.peer)
		}
		if a := x.ref.adoption; a != nil && a.from == x.ref {
			kept = !a.leave()
		} else if a != nil {
			a.lost(x.ref)
		}
		if !kept && !x.ref.early {
			x.ref.stop()
			x.ref.flight.end()
		}
	}
}

// endExports: exports are released.
func (s *session) endExports() {
	for _, e := range s.exports.drain() {
		s.vat.freeLater(&e.pin)
		if w := e.watch; w != nil {
			w.unwatch()
		}
		if e.vine {
			e.intro.drop()
		}
	}
	clear(s.exported)
}
