package actors

import (
	"context"
	"fmt"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
)

// Waiting is the memory of a call that a [Host] has: for who has an object at hand already, since it would be one more.
type Waiting struct{ call waiting }

// waiting is the Returner of a call that a host has accepted: it gives back the call's place, and lets the caller
// give up a call that has not begun. A server of go-capnp answers in turn, so that without it such a caller
// would be held up by a method that never returns. It is the context of the call as well, by which it comes through the
// server; methods get the caller's.
//
// States: waits; begun (the server answers); given up (it has been answered, and what the server says of it in its
// turn goes to nobody). Exactly one of begin and giveUp takes it out of waits.
type waiting struct {
	context.Context // the caller's
	capnp.Returner
	h       *Host
	method  capnp.Method
	size    int64
	teller  Teller      // nil where the call does not wait, or
	unwatch func() bool // for a context that is none
	state   atomic.Int32
}

// A Teller is a context that tells of its end without memory for each who asks, which is more than a call costs where it
// is asked for by package context. x is told on a goroutine of its own.
type Teller interface {
	OnEnd(x Ender)
	OffEnd(x Ender) // x may be told at this moment all the same
}

// An Ender is told that a context has ended.
type Ender interface{ Ended() }

const (
	waits = iota
	begun
	givenUp
)

// watch has the call given up when its context ends.
func (w *waiting) watch() {
	if t, ok := w.Context.(Teller); ok {
		w.teller = t
		t.OnEnd(w)
		return
	}
	w.unwatch = context.AfterFunc(w.Context, w.Ended)
}

// Ended implements [Ender].
func (w *waiting) Ended() { w.giveUp(context.Cause(w.Context)) }

// begin says whether the call is still to be run.
func (w *waiting) begin() bool {
	switch {
	case w.teller != nil:
		w.teller.OffEnd(w)
	case w.unwatch != nil:
		w.unwatch()
	}
	return w.state.CompareAndSwap(waits, begun)
}

// giveUp answers the call if it has not begun.
func (w *waiting) giveUp(why error) {
	if w.state.CompareAndSwap(waits, givenUp) {
		w.Returner.PrepareReturn(&exc.Exception{Type: exc.Failed, Cause: fmt.Errorf("call canceled by its caller: %w", why)})
		w.Returner.Return()
	}
}

// PrepareReturn implements capnp.Returner.
func (w *waiting) PrepareReturn(err error) {
	w.begin() // where it is rejected before its turn
	if w.state.Load() == begun {
		w.Returner.PrepareReturn(err)
	}
}

// Return implements capnp.Returner. The place is given back before the caller has its answer: the next call may be
// made at once.
func (w *waiting) Return() {
	last := w.h.uncount(w.size)
	if w.state.Load() == begun {
		w.Returner.Return()
	}
	w.h.endIfOver(last)
}

// ReleaseResults implements capnp.Returner.
func (w *waiting) ReleaseResults() {
	if w.state.Load() == begun {
		w.Returner.ReleaseResults()
	}
}
