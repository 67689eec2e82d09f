package transport

import (
	"net"
	"slices"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"
)

// A Valve holds back, frees or delays what is written on connections, to bring about orders of events that
// a network could produce but seldom does. It is for tests and demonstrations: what it holds is unbounded.
//
// A valve is open or held; besides, it may wait for a frame from which on to hold, or to delay. It concerns
// the frames written through the connections it wraps, all alike, and never changes the order of those of
// one connection. Methods may be called from any goroutine, but not by its predicates.
type Valve struct {
	mu        sync.Mutex
	lanes     []*lane
	held      bool
	frees     int                        // how often it was freed
	holdIf    *func(*capnp.Message) bool // nil: not waiting for a frame
	delay     time.Duration
	delaying  bool
	delayFrom *func([]byte) bool // nil: not waiting for a frame
}

// NewValve returns a valve that is open.
func NewValve() *Valve { return &Valve{} }

// Wrap returns c with what is written on it led through v; it fits Config.Wrap. While a frame is held or
// delayed, WriteFrames returns at once, and an error in writing it is that of a later WriteFrames. Closing the
// connection drops what is held.
func (v *Valve) Wrap(c Conn) Conn {
	return &valveConn{Conn: c, lane: v.newLane(c)}
}

func (v *Valve) newLane(s sink) *lane {
	l := &lane{valve: v, sink: s}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lanes = append(v.lanes, l)
	return l
}

// forget drops l from those that Free looks after. The caller holds v.mu.
func (v *Valve) forget(l *lane) {
	if i := slices.Index(v.lanes, l); i >= 0 {
		v.lanes = slices.Delete(v.lanes, i, i+1)
	}
}

// breakOff breaks every lane with err, dropping what is held.
func (v *Valve) breakOff(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range slices.Clone(v.lanes) {
		l.breakOff(err)
	}
}

// Hold holds back all that is written from now on, until Free.
func (v *Valve) Hold() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = true
}

// HoldIf holds back, from the first frame for which pred is true, that frame and all that are written
// later, until Free. It replaces an earlier pred. pred is called once for each frame, in their order on a
// connection and concurrently for several, and must not keep the message.
func (v *Valve) HoldIf(pred func(frame *capnp.Message) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.holdIf = &pred
}

// Free opens v, forgets the predicate of HoldIf, and writes what was held, connection by connection in
// order; so it may block as WriteFrames may.
func (v *Valve) Free() {
	v.mu.Lock()
	v.held, v.holdIf = false, nil
	v.frees++
	lanes := slices.Clone(v.lanes)
	for _, l := range lanes {
		for i := range l.queue {
			l.queue[i].held = false
		}
	}
	v.mu.Unlock()
	for _, l := range lanes {
		_ = l.drain() // the error stays in the lane, for its next write
	}
}

// Held is the number of frames held back. Those that are only delayed do not count.
func (v *Valve) Held() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, l := range v.lanes {
		for _, it := range l.queue {
			if it.held && it.frame != nil {
				n++
			}
		}
	}
	return n
}

// Delay delivers each frame d later than it was written, from the first for which from is true; a nil from is
// true for any. It lasts until the next call; Delay(0, nil) ends it. from is called as the predicate of
// HoldIf is, with the encoded frame.
func (v *Valve) Delay(d time.Duration, from func(frame []byte) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.delay, v.delaying, v.delayFrom = d, from == nil, nil
	if from != nil {
		v.delayFrom = &from
	}
}

// judge says what becomes of a frame that is written now, having asked the predicates. They are asked with
// v.mu released, since they are not ours; what they say counts only if they have not been replaced meanwhile.
// frees is the valve's count as of that.
func (v *Valve) judge(frame []byte) (held bool, due time.Time, frees int) {
	v.mu.Lock()
	holdIf, delayFrom := v.holdIf, v.delayFrom
	v.mu.Unlock()
	hold, delay := false, false
	if holdIf != nil {
		if msg := readable(frame); msg != nil {
			hold = (*holdIf)(msg)
		}
	}
	if delayFrom != nil {
		delay = (*delayFrom)(frame)
	}

	v.mu.Lock()
	defer v.mu.Unlock()
	if hold && v.holdIf == holdIf {
		v.held, v.holdIf = true, nil
	}
	if delay && v.delayFrom == delayFrom {
		v.delaying, v.delayFrom = true, nil
	}
	if v.delaying && v.delay > 0 {
		due = time.Now().Add(v.delay)
	}
	return v.held, due, v.frees
}

// valveConn is a connection whose writes go through a valve.
type valveConn struct {
	Conn
	lane *lane
}

func (c *valveConn) WriteFrames(frames [][]byte) error { return c.lane.write(frames) }
func (c *valveConn) CloseWrite() error                 { return c.lane.closeWrite() }

func (c *valveConn) Close() error {
	c.lane.valve.mu.Lock()
	c.lane.breakOff(net.ErrClosed)
	c.lane.valve.mu.Unlock()
	return c.Conn.Close()
}
