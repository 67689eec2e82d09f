package vat

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func (t *callWatches) watched() (live int, idle bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.live), t.idle != nil
}

func (t *callWatches) want(tb testing.TB, when string, live int, idle bool) {
	tb.Helper()
	if l, i := t.watched(); l != live || i != idle {
		tb.Errorf("%s: %d contexts are watched, idle %v; want %d, %v", when, l, i, live, idle)
	}
}

// Calls with one context share a watch, which ends all of them, and outlives them until another one is idle.
func TestCallWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := new(callWatches)
		call := func(parent context.Context) *callContext {
			c := &callContext{Context: parent, all: all}
			c.Done()
			return c
		}
		why := errors.New("no longer wanted")
		ctx, cancel := context.WithCancelCause(t.Context())
		other, cancelOther := context.WithCancel(t.Context())
		a, b := call(ctx), call(context.WithValue(ctx, contextKey{}, 1))
		inner := call(a) // made by a method of ours, with the context of its call
		all.want(t, "three calls", 2, false)
		inner.cancel()
		all.want(t, "without the inner one", 2, true)
		a.cancel()
		synctest.Wait()
		all.want(t, "the inner one's caller is over", 1, false)
		b.cancel()
		all.want(t, "idle", 1, true)
		c, d := call(ctx), call(ctx)
		all.want(t, "not idle", 1, false)
		call(other).cancel()
		all.want(t, "another is idle", 2, true)
		cancel(why)
		synctest.Wait()
		for _, x := range []*callContext{c, d} {
			if x.Err() == nil || context.Cause(x) != why {
				t.Errorf("a call whose caller has ended: %v, %v", x.Err(), context.Cause(x))
			}
		}
		all.want(t, "it has ended", 1, true)
		e := call(ctx) // too late
		synctest.Wait()
		if e.Err() == nil {
			t.Error("a call whose caller had ended before is live")
		}
		all.want(t, "ended before", 1, true)
		cancelOther()
		synctest.Wait()
		all.want(t, "ended idle", 0, false)
		last, cancelLast := context.WithCancel(t.Context())
		defer cancelLast()
		f, g := call(last), call(last)
		f.cancel()
		all.close()
		all.want(t, "closed", 1, false)
		g.cancel()
		all.want(t, "closed and over", 0, false)
	})
}

// Whatever comes at the same time, each call ends, and with its caller.
func TestCallWatchesAtOnce(t *testing.T) {
	all := new(callWatches)
	defer all.close()
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		for i := range 8 {
			calls.Go(func() {
				for range 4 {
					own, end := ctx, func() {}
					if i%2 == 0 {
						own, end = context.WithCancel(t.Context())
					}
					c := &callContext{Context: own, all: all}
					c.Done()
					if i%4 > 1 {
						c.cancel()
					} else {
						end()
						cancel()
						<-c.Done()
					}
					end()
				}
			})
		}
		calls.Wait()
		cancel()
	}
	if live, _ := all.watched(); live > 1 {
		t.Errorf("%d contexts are watched that nobody calls with", live)
	}
}
