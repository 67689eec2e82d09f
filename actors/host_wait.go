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
	unwatch func() bool // nil where the call does not wait
	state   atomic.Int32
}

const (
	waits = iota
	begun
	givenUp
)

// watch has the call given up when its context ends.
func (w *waiting) watch() {
	ctx := w.Context
	giveUp := func() { w.giveUp(context.Cause(ctx)) }
	if own, ok := ctx.(interface {
		AfterFunc(func()) (stop func() bool)
	}); ok {
		w.unwatch = own.AfterFunc(giveUp) // a context of package context on top of it would cost more than the call
		return
	}
	w.unwatch = context.AfterFunc(ctx, giveUp)
}

// begin says whether the call is still to be run.
func (w *waiting) begin() bool {
	if w.unwatch != nil {
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
