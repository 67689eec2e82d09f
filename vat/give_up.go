package vat

import (
	"slices"
	"sync/atomic"
)

// A call that waits (on a promise, on the results of another, for a session) may wait for ever, and its caller may not
// want to. So where a call is put to wait, its context is watched: when that ends the call is answered, and what is left
// of it in the queue is thrown away when its turn comes. On a wire the question does that: see watchCaller.

// waits has c answered as canceled when its caller gives up. It may be called more than once, and under locks.
func (c *call) waits() {
	for to := c.ret; ; {
		switch x := to.(type) {
		case countedSink:
			to = x.sink
			continue
		case *promisedAnswer:
			x.caller.watch(&x.ctx, func() { x.settle(result{err: callerError(&x.ctx)}) })
		case *answerRef:
			if x.ctx != nil {
				x.caller.watch(x.ctx, func() {
					if !x.decided.Swap(true) { // else it went on, and is given up where it went
						x.settle(result{err: errCanceled})
					}
				})
			}
		case *adoptedCall:
			x.from.caller.watch(x.from.ctx, func() { x.settle(result{err: errCanceled}) })
		case *earlyReturn:
			x.givenUp.watch(x.ref.ctx, func() { x.settle(result{err: errCanceled}) })
		}
		return
	}
}

// waiting is waits, for what may be no call.
func waiting(p parcel) parcel {
	if c, ok := p.(*call); ok {
		c.waits()
	}
	return p
}

// callerWatch is the watch on the context of a call that waits.
type callerWatch struct {
	stop atomic.Pointer[func() bool] // nil: it has not begun
}

// notYet is what stops a watch that begins at this moment: it finds the answer settled.
var notYet = func() bool { return false }

func (p *callerWatch) watch(ctx *callContext, over func()) {
	if !p.stop.CompareAndSwap(nil, &notYet) {
		return
	}
	stop := ctx.AfterFunc(over)
	p.stop.Store(&stop)
}

// end stops watching.
func (p *callerWatch) end() {
	if stop := p.stop.Load(); stop != nil {
		(*stop)()
	}
}

// dropCanceled takes out the calls whose callers gave up.
func (s *promiseState) dropCanceled() {
	s.queue = slices.DeleteFunc(s.queue, func(p heldParcel) bool {
		c, ok := p.parcel.(*call)
		gone := ok && c.ctx.Err() != nil
		if gone {
			c.reject(errCanceled)
		}
		return gone
	})
}
