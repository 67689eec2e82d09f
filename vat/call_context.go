package vat

import (
	"context"
	"sync"
)

// A callContext is the context of one call: that of its caller, which ends with the call as well. It costs nothing
// until somebody waits for it, which few do.
//
// States: live; ended (err says why). It ends once.
type callContext struct {
	context.Context      // the caller's
	local           bool // the call is of local code

	mu      sync.Mutex
	err     error
	done    chan struct{} // nil until somebody asks
	watches bool          // the caller's
	unwatch func() bool   // stops that
	after   []*func()
}

// cancel ends the call.
func (c *callContext) cancel() { c.end(context.Canceled) }

func (c *callContext) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	unwatch, after := c.unwatch, c.after
	c.unwatch, c.after = nil, nil
	if c.done != nil {
		close(c.done)
	}
	c.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
	for _, f := range after {
		go (*f)()
	}
}

// Err implements context.Context.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.Context.Err()
}

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		return c.done
	}
	c.done = make(chan struct{})
	if c.err != nil {
		close(c.done)
	}
	c.watch()
	return c.done
}

// watch has c end with the caller's. The caller holds c.mu.
func (c *callContext) watch() {
	if !c.watches && c.err == nil && c.Context.Done() != nil {
		c.unwatch = context.AfterFunc(c.Context, func() { c.end(c.Context.Err()) })
	}
	c.watches = true
}

// AfterFunc is what package context asks for, so that a context that is made from this one needs no goroutine.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	mine := &f
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	c.after = append(c.after, mine)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, x := range c.after {
			if x == mine {
				c.after = append(c.after[:i:i], c.after[i+1:]...)
				return true
			}
		}
		return false
	}
}
