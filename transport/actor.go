package transport

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"
)

// An Upcall is what a session gives its transport to be told by. Both methods are called on the goroutine
// that reads, one after the other, and must not wait for a frame to be written.
type Upcall interface {
	// Frame hands over a message, in the order in which they came. It may still come after Abort, Close
	// or the actor's stop.
	Frame(msg *capnp.Message)

	// Closed comes exactly once, after the last Frame, if the actor has started. err is never nil: io.EOF
	// where the peer ended cleanly, *FrameError where it sent what is no frame, *SlowPeerError where it
	// does not read, net.ErrClosed where we closed first; otherwise what broke the connection.
	// The connection may still be open for writing: the session may answer a *FrameError with Abort. It
	// is for the session to stop the actor, or send Close, when it is through.
	Closed(err error)
}

// Send asks the transport to write a frame: one encoded message in stream framing, which the transport
// keeps from then on. The Send itself may be used again once it has been dealt with.
type Send struct {
	Frame []byte
}

// Abort asks the transport to write what is queued, then Frame, the last one (none if nil), and to close when
// the peer has closed, or after Limits.CloseGrace. What is sent later is dropped.
type Abort struct {
	Frame []byte
}

// Close asks the transport to close at once, dropping what is queued.
type Close struct{}

// Actor moves frames between a session and a connection. Its messages are *Send, *Abort and *Close. None of
// them blocks: handling one queues and wakes the goroutine that writes.
//
// States: idle, until Started; open; ending, after Abort or a failed write, when nothing more is queued;
// closed. It never goes back, and a restart does not revive it: there is no second connection.
//
// While open there are two goroutines, each waiting for its own direction of the connection and nothing
// else: that one is stuck never keeps the other from going on. On Stopping the connection is closed, and
// both end, unless an Abort is under way: its frame is then still written, which takes CloseGrace at most.
type Actor struct {
	conn   Conn
	up     Upcall
	limits Limits

	wake   chan struct{} // the writer has something to look at; capacity 1
	closed chan struct{} // closed with the state
	done   chan struct{}

	mu      sync.Mutex
	queue   [][]byte
	spare   [][]byte      // an empty queue, to take turns with
	free    [][]byte      // frames that were written, for Buffer
	frames  int           // queued, or being written
	bytes   int           // of these
	running int           // goroutines
	room    chan struct{} // closed when bytes has fallen; nil if nobody waits

	started   bool
	aborted   bool
	readOver  bool // nothing more comes
	writeOver bool // nothing more goes
	over      bool // closed
	grace     *time.Timer
	cause     error // why we closed; set with over
}

// NewActor returns the producer of the transport actor of one session. conn is the actor's from then on: it
// is closed in the end, provided that the actor is started. The producer gives the same *Actor each time,
// so a session that wants to look at its queue may call it before it spawns. Of limits, MaxQueuedBytes and
// CloseGrace count here.
func NewActor(conn Conn, up Upcall, limits Limits) actor.Producer {
	a := &Actor{
		conn:   conn,
		up:     up,
		limits: limits.withDefaults(),
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	return func() actor.Actor { return a }
}

// Receive implements actor.Actor. It is made for the mailbox actors.Inline.
func (a *Actor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		a.start()
	case *Send:
		a.send(msg.Frame)
	case *Abort:
		a.abort(msg.Frame)
	case *Close:
		a.close(net.ErrClosed)
	case *actor.Stopping, *actor.Restarting:
		a.stop()
	}
}

// Queued is how much waits to be written, or is being written. Any goroutine may ask.
func (a *Actor) Queued() (frames, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.frames, a.bytes
}

// Frames that are kept to be used again: how large each may be, and how many. Larger ones go to the spares of all.
const (
	spareFrame  = 1 << 10
	spareFrames = 64
)

// Buffer is an empty slice with that capacity or more, for a frame to be sent.
func (a *Actor) Buffer(size int) []byte {
	if size > spareFrame {
		return spareBytes(size)[:0]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := len(a.free); n > 0; n = len(a.free) {
		b := a.free[n-1]
		a.free = a.free[:n-1]
		if cap(b) >= size {
			return b
		}
	}
	return make([]byte, 0, max(size, 256))
}

// AwaitRoom blocks while limit bytes or more wait to be written, and reports whether that is over: false says that
// ctx ended first. For those who make frames, not for the session's own turns.
func (a *Actor) AwaitRoom(ctx context.Context, limit int) bool {
	for {
		a.mu.Lock()
		if a.over || a.writeOver || a.bytes < limit {
			a.mu.Unlock()
			return true
		}
		if a.room == nil {
			a.room = make(chan struct{})
		}
		room := a.room
		a.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}

// tellRoom wakes those who wait in AwaitRoom. The caller holds a.mu.
func (a *Actor) tellRoom() {
	if a.room != nil {
		close(a.room)
		a.room = nil
	}
}

// Done is closed when the connection is closed, Upcall.Closed has returned, and no goroutine is left.
func (a *Actor) Done() <-chan struct{} { return a.done }

func (a *Actor) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.started || a.over {
		return // restarted: see Actor
	}
	a.started = true
	a.spawn(a.read)
	a.spawn(a.write)
}

// spawn runs f; the last goroutine to end tells Done. The caller holds a.mu.
func (a *Actor) spawn(f func()) {
	a.running++
	go func() {
		f()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.running--; a.running == 0 {
			close(a.done)
		}
	}()
}

func (a *Actor) send(frame []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aborted {
		return
	}
	a.enqueue(frame)
	if a.bytes > a.limits.MaxQueuedBytes {
		a.closeLocked(&SlowPeerError{Queued: a.bytes, Limit: a.limits.MaxQueuedBytes})
	}
}

func (a *Actor) abort(frame []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aborted {
		return
	}
	a.aborted = true
	a.enqueue(frame)
	a.closeInGrace(net.ErrClosed)
}

// enqueue adds frame, unless it is nil, and wakes the writer. The caller holds a.mu.
func (a *Actor) enqueue(frame []byte) {
	if a.over || a.writeOver {
		return
	}
	if frame != nil {
		a.queue = append(a.queue, frame)
		a.frames++
		a.bytes += len(frame)
	}
	select {
	case a.wake <- struct{}{}:
	default: // it has been told, and has not looked yet
	}
}

func (a *Actor) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.aborted {
		a.closeLocked(net.ErrClosed)
	}
}

func (a *Actor) close(cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closeLocked(cause)
}

// closeInGrace lets the peer end its side first, for a while: closing while bytes of its are unread makes TCP
// throw away what is still on its way to it. The caller holds a.mu.
func (a *Actor) closeInGrace(cause error) {
	if a.grace == nil && !a.over {
		a.grace = time.AfterFunc(a.limits.CloseGrace, func() { a.close(cause) })
	}
}

// closeLocked ends everything. The connection is closed on a goroutine of its own, since TLS may take seconds to
// say goodbye, and both others may be stuck until then. The caller holds a.mu.
func (a *Actor) closeLocked(cause error) {
	if a.over {
		return
	}
	a.over, a.cause = true, cause
	a.tellRoom()
	a.frames -= len(a.queue)
	a.bytes -= size(a.queue)
	a.queue = nil
	if a.grace != nil {
		a.grace.Stop()
	}
	close(a.closed)
	a.spawn(func() { a.conn.Close() })
}

// read hands over frames until there are no more.
func (a *Actor) read() {
	msg, err := a.conn.ReadFrame()
	for err == nil {
		a.up.Frame(msg)
		msg, err = a.conn.ReadFrame()
	}
	a.up.Closed(a.reason(err))

	var bad *FrameError
	if errors.As(err, &bad) {
		// The peer may be busy sending and not get to our Abort before that is done: throw it away.
		_, _ = a.conn.ReadFrame()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.readOver = true
	a.closeIfOver()
}

// reason is why reading ended: err, unless that is only because we closed.
func (a *Actor) reason(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cause != nil {
		return a.cause
	}
	return err
}

// write writes what is queued until there will be no more.
func (a *Actor) write() {
	for {
		select {
		case <-a.wake:
		case <-a.closed:
			return
		}
		// Who woke us, or others, may have more: one write for all of it costs far less than one each.
		a.letGrow()
		batch, last := a.take()
		var err error
		if len(batch) > 0 {
			err = a.conn.WriteFrames(batch)
		}
		if err == nil && last {
			// An error is of no consequence: reading will end by itself, or in grace.
			_ = a.conn.CloseWrite()
		}
		a.written(batch, err, last)
		if err != nil || last {
			return
		}
	}
}

// enough frames to write is when more of them would not make each much cheaper.
const enough = 32

// letGrow lets others run once, and again as long as they have had more to write.
func (a *Actor) letGrow() {
	for had := -1; ; {
		a.mu.Lock()
		n := len(a.queue)
		a.mu.Unlock()
		if n <= had || n > enough {
			return
		}
		had = n
		runtime.Gosched()
	}
}

// take returns all that is queued, and whether nothing will follow it.
func (a *Actor) take() (batch [][]byte, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch = a.queue
	a.queue, a.spare = a.spare, nil
	return batch, a.aborted
}

// maxSpare is the longest queue that is kept for reuse.
const maxSpare = 1024

// written accounts for batch. After a failure the connection stays open in grace, for there may be something
// to read that says why: an Abort of the peer's.
func (a *Actor) written(batch [][]byte, err error, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frames -= len(batch)
	a.bytes -= size(batch)
	a.tellRoom()
	for i, frame := range batch {
		if cap(frame) > spareFrame {
			giveSpare(frame)
		} else if len(a.free) < spareFrames {
			a.free = append(a.free, frame[:0])
		}
		batch[i] = nil
	}
	if cap(batch) <= maxSpare {
		a.spare = batch[:0]
	}
	if err == nil && !last {
		return
	}
	a.writeOver = true
	if err != nil {
		a.frames -= len(a.queue)
		a.bytes -= size(a.queue)
		a.queue = nil
		a.closeInGrace(err)
	}
	a.closeIfOver()
}

// closeIfOver closes what neither side uses any more. The caller holds a.mu.
func (a *Actor) closeIfOver() {
	if a.readOver && a.writeOver {
		a.closeLocked(net.ErrClosed)
	}
}

func size(frames [][]byte) int {
	n := 0
	for _, frame := range frames {
		n += len(frame)
	}
	return n
}
