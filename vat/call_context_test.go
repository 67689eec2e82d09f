package vat

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type contextKey struct{}

// The context of a call ends with its caller's, and with the call, and is like one of package context to those that are
// made from it.
func TestCallContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("no longer wanted")
		for _, own := range []bool{false, true} {
			for _, waiting := range []bool{false, true} {
				parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), contextKey{}, 1))
				c := &callContext{Context: parent, all: new(callWatches)}
				var child context.Context
				ran, stopped := 0, 0
				if waiting {
					var end context.CancelFunc
					child, end = context.WithTimeout(c, time.Hour)
					defer end()
					context.AfterFunc(c, func() { ran++ })
					if !context.AfterFunc(c, func() { stopped++ })() {
						t.Error("a function that has not run could not be stopped")
					}
				}
				if c.Err() != nil || c.Value(contextKey{}) != 1 {
					t.Errorf("live: %v, %v", c.Err(), c.Value(contextKey{}))
				}
				want := cause
				if own {
					c.cancel()
					want = context.Canceled
				} else {
					cancel(cause)
				}
				synctest.Wait()
				<-c.Done()
				if c.Err() != context.Canceled || context.Cause(c) != want {
					t.Errorf("own %v: %v, %v", own, c.Err(), context.Cause(c))
				}
				if waiting && (child.Err() != context.Canceled || context.Cause(child) != want || ran != 1 || stopped != 0) {
					t.Errorf("own %v: %v, %v, ran %d and %d", own, child.Err(), context.Cause(child), ran, stopped)
				}
				stop := context.AfterFunc(c, func() { ran++ })
				synctest.Wait()
				if stop() || ran != 2 && waiting {
					t.Errorf("a function after the end ran %d times", ran)
				}
				cancel(nil)
				c.cancel()
			}
		}
	})
}
