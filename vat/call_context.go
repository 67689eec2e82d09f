package vat

import (
	"context"
	"sync"

	"github.com/vatwork/vatwork/actors"
)

// A callContext is the context of one call: that of its caller, which ends with the call as well. It costs nothing
// until somebody waits for it, which few do.
//
// States: live; ended (err says why). It ends once. But the questions of a call of local code are told of its caller alone:
// that the call is over, its answer sees to, and they may be for others too by then.
type callContext struct {
	context.Context // the caller's
	all             *callWatches
	local           bool // the call is of local code

	watches   bool // the caller's; mu protects this, and the rest
	mu        sync.Mutex
	err       error
	done      chan struct{} // nil until somebody asks
	after     []*func()
	waiting   actors.Ender // in front of an object; told as after is
	questions *questionRef // on a wire: one, mostly; the others by its next

	watched    *callWatch // by all, which has these too
	prev, next *callContext
}

// cancel ends the call.
func (c *callContext) cancel() { c.end(context.Canceled, false) }

func (c *callContext) end(err error, byCaller bool) {
	c.mu.Lock()
	var asked []*questionRef
	if byCaller || !c.local {
		asked = c.takeQuestions()
	}
	var after []*func()
	var waiting actors.Ender
	if c.err == nil {
		c.err = err
		after, waiting = c.after, c.waiting
		c.after, c.waiting = nil, nil
		if c.done != nil {
			close(c.done)
		}
	}
	gone := c.unwatch()
	c.mu.Unlock()
	gone.end()
	for _, f := range after {
		go (*f)()
	}
	if waiting != nil {
		go waiting.Ended()
	}
	if len(asked) > 0 {
		go c.tell(asked)
	}
}

// unwatch stops watching the caller's context, once nobody is to be told of it. The caller holds c.mu.
func (c *callContext) unwatch() *callWatch {
	if !c.watches || c.err == nil || c.questions != nil {
		return nil
	}
	c.watches = false
	return c.all.remove(c)
}

// OnEnd implements [actors.Teller].
func (c *callContext) OnEnd(x actors.Ender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchIfLive()
	switch {
	case c.err != nil:
		go x.Ended()
	case c.waiting != nil: // it waits at one place at a time, but may leave one late
		f := x.Ended
		c.after = append(c.after, &f)
	default:
		c.waiting = x
	}
}

// OffEnd implements [actors.Teller].
func (c *callContext) OffEnd(x actors.Ender) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == x {
		c.waiting = nil
	}
}

// askedAs has q canceled when nobody cares for the call any more.
func (c *callContext) askedAs(q *questionRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Context.Err() != nil || c.err != nil && !c.local {
		go c.tell([]*questionRef{q})
		return
	}
	c.watch()
	q.next, c.questions = c.questions, q
}

// answeredAs is for a question that is over.
func (c *callContext) answeredAs(q *questionRef) {
	c.mu.Lock()
	for at := &c.questions; *at != nil; at = &(*at).next {
		if *at == q {
			*at, q.next = q.next, nil
			break
		}
	}
	gone := c.unwatch()
	c.mu.Unlock()
	gone.end()
}

func (c *callContext) takeQuestions() (all []*questionRef) {
	for c.questions != nil {
		q := c.questions
		c.questions, q.next = q.next, nil
		all = append(all, q)
	}
	return all
}

// tell has questions canceled.
func (c *callContext) tell(asked []*questionRef) {
	ctx := context.Context(c)
	if c.local {
		ctx = c.Context
	}
	for _, q := range asked {
		q.s.tell(&cancelQuestion{q, callerError(ctx)})
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
	c.watchIfLive()
	return c.done
}

func (c *callContext) watchIfLive() {
	if c.err == nil {
		c.watch()
	}
}

// watch has c end with the caller's. The caller holds c.mu.
func (c *callContext) watch() {
	if !c.watches && c.Context.Done() != nil {
		c.all.add(c)
	}
	c.watches = true
}

// AfterFunc is what package context asks for, so that a context that is made from this one needs no goroutine.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	mine := &f
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchIfLive()
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
