package transport

import (
	"bytes"
	"net"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"
)

// A lane is one direction of one connection on its way through a Valve: what was written and has not gone
// on yet, in order.
//
// States of an item: held, until Free; waiting, until it is due or what is before it has gone; gone. Held is
// decided once, when it is written: Hold concerns what comes after it. At most one goroutine moves
// items on, the one that has set draining, so that order is kept without a lock around the writing.
type lane struct {
	valve *Valve
	sink  sink

	// All below is guarded by valve.mu.
	queue    []item
	ended    bool // an end has been queued: nothing may follow
	draining bool
	timer    *time.Timer // for the first item that is not due; nil if none is set
	err      error       // why nothing goes on any more
}

// A sink is where a lane leads.
type sink interface {
	WriteFrames(frames [][]byte) error
	CloseWrite() error
}

// An item is a frame, or with a nil frame the end of writing.
type item struct {
	frame []byte
	held  bool
	due   time.Time // zero: at once
}

// write queues copies of frames and moves on what may go.
func (l *lane) write(frames [][]byte) error {
	for _, frame := range frames {
		if len(frame) == 0 {
			continue // nothing to write, and a nil frame would mean the end
		}
		held, due, frees := l.valve.judge(frame)
		if err := l.push(item{bytes.Clone(frame), held, due}, frees); err != nil {
			return err
		}
	}
	return l.drain()
}

// closeWrite queues the end. It has its place in the order like a frame, but no predicate sees it.
func (l *lane) closeWrite() error {
	l.valve.mu.Lock()
	end, frees := item{held: l.valve.held}, l.valve.frees
	if l.valve.delaying {
		end.due = time.Now().Add(l.valve.delay)
	}
	l.valve.mu.Unlock()
	if err := l.push(end, frees); err != nil {
		return err
	}
	return l.drain()
}

// push queues it, of which it was decided that it is held when the valve had been freed frees times.
func (l *lane) push(it item, frees int) error {
	l.valve.mu.Lock()
	defer l.valve.mu.Unlock()
	if frees != l.valve.frees {
		it.held = l.valve.held // freed before it got here: nobody would free it any more
	}
	if l.err != nil {
		return l.err
	}
	if l.ended {
		return net.ErrClosed
	}
	l.ended = it.frame == nil
	l.queue = append(l.queue, it)
	return nil
}

// drain moves on what may go, and returns why the lane is broken, if it is. Where another goroutine is
// at it, that one does it.
func (l *lane) drain() error {
	mu := &l.valve.mu
	mu.Lock()
	defer mu.Unlock()
	if l.draining {
		return l.err
	}
	l.draining = true
	defer func() { l.draining = false }()
	for l.err == nil {
		frames, end := l.takeReady()
		if frames == nil && !end {
			return nil
		}
		err := unlocked(mu, func() error { return forward(l.sink, frames, end) })
		if err != nil && l.err == nil {
			l.err, l.queue = err, nil
		}
		if err != nil || end {
			l.valve.forget(l)
		}
	}
	return l.err
}

func forward(s sink, frames [][]byte, end bool) error {
	if end {
		return s.CloseWrite()
	}
	return s.WriteFrames(frames)
}

// unlocked calls f with mu released.
func unlocked(mu *sync.Mutex, f func() error) error {
	mu.Unlock()
	defer mu.Lock()
	return f()
}

// takeReady removes the frames at the head of the queue that may go, or the end if that is the head. It
// sets the timer if the head is not due.
func (l *lane) takeReady() (frames [][]byte, end bool) {
	var now time.Time
	for len(l.queue) > 0 {
		head := l.queue[0]
		if head.held || (head.frame == nil && frames != nil) {
			break
		}
		if !head.due.IsZero() {
			if now.IsZero() {
				now = time.Now()
			}
			if wait := head.due.Sub(now); wait > 0 {
				l.wakeIn(wait)
				break
			}
		}
		l.queue[0] = item{}
		l.queue = l.queue[1:]
		if head.frame == nil {
			return nil, true
		}
		frames = append(frames, head.frame)
	}
	return frames, false
}

// wakeIn drains again after d. A timer set before was for what is gone by now, or for the same item.
func (l *lane) wakeIn(d time.Duration) {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timer = time.AfterFunc(d, func() { _ = l.drain() })
}

// breakOff drops what is queued; from here on the lane answers err. The caller holds valve.mu.
func (l *lane) breakOff(err error) {
	if l.err == nil {
		l.err = err
	}
	l.queue = nil
	if l.timer != nil {
		l.timer.Stop()
	}
	l.valve.forget(l)
}

// readable is the message in a frame of our own, for a predicate, nil if it is none.
func readable(frame []byte) *capnp.Message {
	msg, err := capnp.Unmarshal(frame)
	if err != nil {
		return nil
	}
	return msg
}
