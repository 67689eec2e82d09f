package vat

import (
	"context"
	"sync"
)

// callWatches watches the contexts of those who call, for the contexts of their calls. Many calls have one context, and to
// watch it costs more than all else that is done for a call's: so calls whose contexts end together, which have the same
// Done channel, share one watch.
//
// A watch lives as long as there is a call for it. The last one stays, idle, until another has none left: so whoever makes
// one call after the other does not begin anew each time, and not more than one context is held that nobody calls with.
type callWatches struct {
	mu     sync.Mutex
	live   map[<-chan struct{}]*callWatch
	idle   *callWatch
	spare  *callWatch
	closed bool
}

// A callWatch is a context that is watched.
//
// States: live (in the table, with calls or idle); over (it has ended, or is not watched any more). What is over is used
// again only where the watch is sure never to run.
type callWatch struct {
	all   *callWatches
	done  <-chan struct{}
	first *callContext // the others by next and prev
	over  bool
	stop  func() bool // nil until there is one
	run   func()      // ended, made once
}

// add has c end with its caller's. The caller holds c.mu.
func (t *callWatches) add(c *callContext) {
	done := c.Context.Done()
	t.mu.Lock()
	w := t.live[done]
	begins := w == nil
	if begins {
		w = t.take()
		w.done, t.live[done] = done, w
	}
	if t.idle == w {
		t.idle = nil
	}
	w.link(c)
	t.mu.Unlock()
	if !begins {
		return
	}
	// Not under the lock: the context may be one of ours, or anybody's.
	stop := context.AfterFunc(c.Context, w.run)
	t.mu.Lock()
	w.stop = stop
	over := w.over
	t.mu.Unlock()
	if over {
		stop()
	}
}

func (t *callWatches) take() *callWatch {
	w := t.spare
	t.spare = nil
	if w == nil {
		w = &callWatch{all: t}
		w.run = w.ended
	}
	if t.live == nil {
		t.live = map[<-chan struct{}]*callWatch{}
	}
	w.over = false
	return w
}

// remove is for a call that is over. What it returns, if not nil, is to be told to stop, with no lock held.
func (t *callWatches) remove(c *callContext) (gone *callWatch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := c.watched
	if w == nil {
		return nil // it ends at this moment
	}
	w.unlink(c)
	switch {
	case w.first != nil:
		return nil
	case t.closed:
		gone = w
	default:
		gone, t.idle = t.idle, w
	}
	return t.drop(gone)
}

// drop takes w out of the table. The caller holds t.mu.
func (t *callWatches) drop(w *callWatch) *callWatch {
	if w != nil {
		w.over = true
		delete(t.live, w.done)
	}
	return w
}

// close lets go of what is idle.
func (t *callWatches) close() {
	t.mu.Lock()
	t.closed = true
	gone := t.drop(t.idle)
	t.idle = nil
	t.mu.Unlock()
	gone.end()
}

// end stops w, which is over. Without a stop, whoever has just begun to watch does that.
func (w *callWatch) end() {
	if w == nil {
		return
	}
	w.all.mu.Lock()
	stop := w.stop
	w.all.mu.Unlock()
	if stop == nil || !stop() {
		return
	}
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.done, w.stop = nil, nil
	w.all.spare = w
}

// ended is run when the context has ended.
func (w *callWatch) ended() {
	t := w.all
	t.mu.Lock()
	if w.over {
		t.mu.Unlock()
		return
	}
	t.drop(w)
	if t.idle == w {
		t.idle = nil
	}
	var calls []*callContext
	for w.first != nil {
		calls = append(calls, w.first)
		w.unlink(w.first)
	}
	t.mu.Unlock()
	for _, c := range calls {
		c.end(c.Context.Err(), true)
	}
}

func (w *callWatch) link(c *callContext) {
	c.watched, c.next = w, w.first
	if c.next != nil {
		c.next.prev = c
	}
	w.first = c
}

func (w *callWatch) unlink(c *callContext) {
	if c.prev == nil {
		w.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.watched, c.prev, c.next = nil, nil, nil
}
