package vat

import (
	"sync/atomic"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

// promiseState is the state of a promise. Unresolved: to and fixed are empty, queue and watchers fill. Resolved: to
// is where local callers go, who follow on from there; fixed the same for what is pinned, which leads on from there
// only until it is told to a peer; queue and watchers are empty. Besides: shut, when no client has it any more; ended,
// when it is shut, no pin leads to it and nothing waits; closed, with the vat, when nothing may wait any longer.
type promiseState struct {
	vat      *Vat
	limit    int
	queue    []heldParcel
	watchers []*watcher
	to       pin
	fixed    pin
	told     bool         // somebody has been told of fixed
	pins     atomic.Int32 // on any goroutine
	shut     bool
	ended    bool
	closed   error
}

func (s *promiseState) put(p parcel, fixed bool) {
	if s.to.road == nil && s.closed != nil {
		p.reject(s.closed)
		return
	}
	if s.to.road == nil {
		if len(s.queue) >= s.limit {
			s.dropCanceled()
		}
		if len(s.queue) >= s.limit {
			p.reject(s.vat.beyondLimit("Pipelined", s.limit, "calls that wait on one promise"))
			return
		}
		s.queue = append(s.queue, heldParcel{waiting(p), fixed})
		return
	}
	to := s.to.road
	if fixed {
		to = s.fixed.road
	}
	to.put(p)
	to.wake()
}

func (s *promiseState) watch(w *watcher) {
	if s.to.road == nil {
		s.watchers = append(s.watchers, w)
		return
	}
	if !s.told {
		s.fixed, s.told = w.s.told(s.fixed), true
	}
	w.tell(s.fixed.again(), nil)
}

func (s *promiseState) unwatch(w *watcher) {
	for i, x := range s.watchers {
		if x == w {
			s.watchers = append(s.watchers[:i], s.watchers[i+1:]...)
			return
		}
	}
}

// settle enqueues, in this order: Provides, the queue, the news.
func (s *promiseState) settle(to pin, intro *introduction) {
	if s.vat.breaks(hook.OneTurn) {
		held, callers := s.queue, s.to.again()
		s.queue = nil
		s.vat.later(func() {
			for _, p := range held {
				callers.road.put(p.parcel)
			}
			callers.road.wake()
			callers.free()
		})
	}
	intros := make([]*introduction, len(s.watchers))
	told, ok := s.vat.handOn(to, s.queue, s.to.road, s.watchers, func(told pin) {
		for i, w := range s.watchers {
			switch {
			case intro == nil:
				if intros[i] = w.s.introductionOf(told); intros[i] != nil {
					intros[i].post()
				}
			case w.s == intro.recipient:
				intros[i] = intro
				intro.provide.hold() // for the vine
			}
		}
	})
	s.fixed = told
	for i, w := range s.watchers {
		if intros[i] != nil && !ok {
			intros[i].drop()
			intros[i] = nil
		}
		if intro != nil && intros[i] == nil {
			continue // it goes on as a promise for those to whom it cannot be named
		}
		w.tell(told.again(), intros[i])
	}
	s.told = len(s.watchers) > 0
	s.queue, s.watchers = nil, nil
}

// endIfDone ends a promise that was shut down, if no pin leads to it and nothing waits but calls whose callers gave up.
// It reports true once.
func (s *promiseState) endIfDone() bool {
	s.dropCanceled()
	if s.ended || len(s.queue) > 0 || s.pins.Load() > 0 {
		return false
	}
	s.ended = true
	return true
}

// close rejects what waits, and reports whether that ends the promise.
func (s *promiseState) close(why error) bool {
	s.closed = why
	for _, p := range s.queue {
		p.reject(why)
	}
	s.queue = nil
	return s.shut && s.endIfDone()
}
