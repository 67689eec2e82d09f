package vat

// cancelAnswer: nobody cares for the result of a call that runs. "If nothing else cares about the result either
// (e.g. there are no other outstanding calls pipelined on the result of this one)", it is canceled.
func (s *session) cancelAnswer(id uint32) {
	s.answers.visit(id, func(a *answer) {
		switch {
		case a.pipe.on != nil && !a.pipe.closing:
			// Let go of the question: its session knows what else is pipelined on it.
			q := a.pipe.on
			a.pipe.on = nil
			s.emit(letGo(q.drop))
		default:
			for _, p := range a.pipe.dropCanceled() {
				s.emit(letGo(func() { p.reject(errCanceled) }))
			}
			if len(a.pipe.queue) == 0 {
				s.emit(do(a.ref.giveUp))
			}
		}
	})
}

// lessPipelined is the news that a call was canceled that waits on an answer. That may have been the only interest
// that was left in it.
type lessPipelined struct{ ref *answerRef }

func (s *session) answerLessPipelined(m *lessPipelined) {
	if m.ref.left != nil {
		s.leftLessPipelined(m.ref)
		return
	}
	if a := s.answers.get(m.ref.id); a != nil && a.ref == m.ref && a.finished && a.pipe.res == nil {
		s.cancelAnswer(m.ref.id)
		s.adoptedFinished(a)
	}
}
