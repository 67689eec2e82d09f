package vat

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// sessionActor runs the turns of a session, and is the host of its tables: their entries are its children.
type sessionActor struct {
	s   *session
	pid *actor.PID
	ctx actor.Context // valid within a turn

	cells     *actors.Brood
	link      *link
	unread    unread
	redials   int
	probing   bool        // see suspect.go
	suspicion *suspected  // that arose meanwhile
	again     bool        // the peer was at rest as we were not, has been dialed again, and not been heard since
	idle      *time.Timer // while at rest
	rest      int         // counts the times of rest
	turns     uint64      // counted
}

// A connection that a peer with a lower id hangs up on is made again this often, after these times.
const (
	maxRedials  = 6                     // 3 s in all: longer than it takes the peer to find that an old session is dead, see accepted
	redialAfter = 25 * time.Millisecond // doubles
)

// maxFrames is how many messages may wait in a session's mailbox before the goroutine that reads frames waits for
// turns, which wait for nothing.
const maxFrames = 1024

type (
	opened struct {
		conn   transport.Conn
		dialed bool
	}
	dialFailed struct{ err error }
	linkClosed struct {
		l   *link
		err error
	}
	endSession struct{ why error }
	// inspect runs f in a turn: for the tree, and for tests.
	inspect struct {
		f    func(*session)
		done chan struct{}
	}
)

// Receive implements actor.Actor.
func (a *sessionActor) Receive(ctx actor.Context) {
	a.ctx = ctx
	switch m := ctx.Message().(type) {
	case *actor.Started, *actor.Stopping, *actor.Restarting, *actor.Terminated:
	case *actor.Stopped:
		a.s.vat.sessionStopped(a.s)
	default:
		a.turn(m)
	}
}

// turn runs one message. The session ends if it fails.
func (a *sessionActor) turn(m any) {
	s := a.s
	a.turns++
	if s.end.Load() != nil {
		a.refuse(m)
		return
	}
	switch m := m.(type) {
	case *opened:
		a.open(m)
		a.afterTurn()
		return
	case *acceptOverdue:
		if m.limit == "Handoff" && s.hello.Load() == nil { // it is dialing still, and that has a deadline of its own
			s.vat.expireAccept(m.q)
			return
		}
	case *resultsAwaited:
		a.awaitResults(m)
		return
	case *rested:
		a.idled(m)
		return
	case *suspected:
		a.probe(m)
		return
	case *verdict:
		a.judge(m)
		return
	case *dialFailed:
		if s.hello.Load() == nil {
			a.close(m.err, nil)
		}
		return
	case *linkClosed:
		a.linkClosed(m)
		return
	case *endSession:
		a.close(m.why, m.why)
		return
	case *inspect:
		a.attempt(func() error { m.f(s); return nil })
		close(m.done)
		return
	case *linkFrame:
		f := *m
		*m = linkFrame{}
		linkFrames.Put(m)
		if f.l == a.link { // and not of a connection that was given up
			a.incoming(f.msg)
		}
		return
	}
	if s.hello.Load() == nil {
		if max := s.vat.limits.Questions; len(s.waiting) >= max {
			a.refuseWith(m, s.vat.beyondLimit("Questions", max, "questions that wait for a session"))
			return
		}
		if x, ok := m.(*toPipeline); ok {
			waiting(x.parcel)
		}
		s.waiting = append(s.waiting, m)
		return
	}
	if !a.attempt(func() error { return s.handle(m) }) {
		a.abandon(m)
	}
}

func (a *sessionActor) incoming(msg *capnp.Message) {
	a.s.confirmed.Store(true)
	a.s.heard++
	a.tap(false, msg)
	a.attempt(func() error { return a.frame(msg) })
}

// frame takes a message of the peer's. If the turn fails nothing has taken the capabilities that were read from it.
func (a *sessionActor) frame(msg *capnp.Message) error {
	taken := false
	defer func() {
		if !taken {
			a.s.vat.resetLater(msg)
		}
	}()
	err := a.s.onFrame(msg)
	if taken = err == nil; taken {
		a.unread.heard()
		a.again = false
	}
	return err
}

// attempt runs a turn and carries out its effects, or discards them, ends the session, and reports false.
func (a *sessionActor) attempt(turn func() error) bool {
	s := a.s
	err := a.guard(turn)
	out, done := s.out, 0
	s.out, s.spareOut = s.spareOut, nil
	if err == nil {
		err = a.guard(func() error {
			for _, e := range out {
				done++
				e.apply(s)
			}
			return nil
		})
	}
	if err != nil {
		why := disconnected("session with %s ended: %v", s.peer.Short(), err)
		for _, e := range out[done:] {
			_ = a.guard(func() error { e.discard(s, why); return nil })
		}
	}
	clear(out)
	s.spareOut = out[:0]
	if err == nil {
		a.afterTurn()
		return true
	}
	s.out, s.broken = nil, nil
	a.fail(err)
	return false
}

// abandon answers the call of a turn that has failed, if local code has made it: it may be in no table yet, or no more.
func (a *sessionActor) abandon(m any) {
	var p parcel
	switch m := m.(type) {
	case *callToImport:
		p = (*call)(m)
	case *toImport:
		p = m.parcel
	case *toPipeline:
		p = m.parcel
	case *toEmbargo:
		p = m.parcel
	}
	c, ok := p.(*call)
	if !ok {
		return
	}
	to := c.ret
	for counted, ok := to.(countedSink); ok; counted, ok = to.(countedSink) {
		to = counted.sink
	}
	if answer, ok := to.(*promisedAnswer); ok {
		answer.settle(result{err: a.s.why()}) // only the first result of a call counts
	}
}

// guard turns a panic into an error: a mistake of ours, for which this session ends and nothing else.
func (a *sessionActor) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			a.s.vat.log.Error("turn failed", "session", a.s.name, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error of the vat: %v", r)
		}
	}()
	return f()
}

// fail ends the session for err.
func (a *sessionActor) fail(err error) {
	var f *protocolFault
	var p peerAborted
	switch peer := a.s.peer.Short(); {
	case errors.As(err, &peerIdled{}):
		a.peerRested()
	case errors.As(err, &p):
		a.close(disconnected("%s aborted the session: %v", peer, p.error), nil)
	case errors.As(err, &f):
		a.s.vat.log.Warn("session aborted: the peer broke the protocol", "peer", string(a.s.peer), "fault", f.reason)
		a.close(disconnected("%s broke the protocol: %s", peer, f.reason), failed("%s", f.reason))
	default:
		a.close(disconnected("session with %s ended by an %v", peer, err), failed("%v", err))
	}
}

// fault ends s for what its peer did, from any goroutine.
func (s *session) fault(reason string) { s.tell(&protocolError{reason}) }

type protocolError struct{ reason string }

// open takes a connection.
func (a *sessionActor) open(m *opened) {
	s := a.s
	if a.link != nil {
		if m.dialed || s.confirmed.Load() {
			m.conn.Close()
			return
		}
		// Both dialed: the peer's connection is kept, and it has read nothing from ours.
		a.stopLink()
	}
	hello := m.conn.Peer()
	l := &link{a: a, gone: make(latch)}
	producer := transport.NewActor(m.conn, l, m.conn.Limits())
	l.actor = producer().(*transport.Actor)
	pid, err := a.ctx.SpawnNamed(actor.PropsFromProducer(producer, actors.Inline()), "transport-"+s.vat.serialName())
	if err != nil {
		m.conn.Close()
		a.close(disconnected("no transport: %v", err), nil)
		return
	}
	l.pid = pid
	a.link = l
	s.vat.goroutines.Add(1)
	go func() {
		defer s.vat.goroutines.Done()
		<-l.actor.Done()
		s.vat.left(s, l.gone)
	}()
	s.wire = l
	s.link.Store(l)
	s.hello.Store(&hello)
	sent := a.unread.sent
	a.unread.begin()
	for _, f := range sent {
		l.send(f)
	}
	waiting := s.waiting
	s.waiting = nil
	for _, w := range waiting {
		a.turn(w)
	}
}

func (a *sessionActor) stopLink() {
	a.ctx.Stop(a.link.pid)
	a.link = nil
}

// awaitTheirs: the peer, whose id is the lower one, has hung up on a connection that we made before it sent
// anything. Both may have dialed at once, and then its own connection is on the way: the session goes back to
// dialing, keeps what it had sent, and tries again after a while in case it is not.
func (a *sessionActor) awaitTheirs() {
	a.redials++
	a.dialAgain(redialAfter << a.redials)
}

func (a *sessionActor) linkClosed(m *linkClosed) {
	if m.l != a.link {
		return
	}
	s := a.s
	if errors.Is(m.err, io.EOF) && s.dialed && !s.confirmed.Load() && s.vat.ID() > s.peer && a.redials < maxRedials {
		a.awaitTheirs()
		return
	}
	s.vat.exceededOnWire(m.err)
	var bad *transport.FrameError
	if errors.As(m.err, &bad) {
		a.close(disconnected("%s sent what is no message: %v", s.peer.Short(), m.err), failed("%v", m.err))
		return
	}
	a.close(disconnected("connection to %s lost: %v", s.peer.Short(), m.err), nil)
}

func (a *sessionActor) tap(out bool, msg *capnp.Message) {
	if a.s.vat.tap == nil {
		return
	}
	if m, err := rpc.ReadRootMessage(msg); err == nil {
		a.s.vat.tap(TapEvent{Out: out, Peer: *a.s.hello.Load(), At: time.Now(), Message: m})
	}
}

// childFailed: a table actor, in whose turn the session finds that out for itself, or the transport.
func (a *sessionActor) childFailed(child *actor.PID, reason any) {
	a.s.vat.log.Error("actor failed", "actor", child.Id, "panic", reason)
	if a.link != nil && child.Equal(a.link.pid) {
		a.close(disconnected("transport failed: %v", reason), nil)
	}
}

// A link is the connection of a session: the wire for it, and what the transport tells of.
type link struct {
	a     *sessionActor
	pid   *actor.PID
	actor *transport.Actor
	gone  latch          // closed with the connection
	next  transport.Send // used again for each frame
}

type linkFrame struct {
	l   *link
	msg *capnp.Message
}

var linkFrames = sync.Pool{New: func() any { return new(linkFrame) }}

// Frame implements transport.Upcall: on the goroutine that reads.
func (l *link) Frame(msg *capnp.Message) {
	l.a.s.queue.AwaitRoom(maxFrames)
	m := linkFrames.Get().(*linkFrame)
	*m = linkFrame{l, msg}
	if l.a.s.post(m) {
		l.a.s.run()
	}
}

// Closed implements transport.Upcall.
func (l *link) Closed(err error) { l.a.s.tell(&linkClosed{l, err}) }

func (l *link) send(m *capnp.Message) (kept bool) {
	size := must(m.TotalSize())
	l.next.Frame = appendFrame(l.actor.Buffer(int(size)), m)
	l.a.tap(true, m)
	l.a.s.vat.system.Root.Send(l.pid, &l.next)
	max := l.a.s.vat.limits.QueueBytes
	if l.a.s.dialed && !l.a.s.confirmed.Load() {
		max = 0 // both may have dialed: see Vat.accepted
	}
	return l.a.unread.add(m, int(size), max)
}

func (l *link) abort(m rpc.Message) {
	l.a.tap(true, m.Message())
	l.a.s.vat.system.Root.Send(l.pid, &transport.Abort{Frame: must(m.Message().Marshal())})
}

// finish lets what is queued go out, and closes then.
func (l *link) finish() { l.a.s.vat.system.Root.Send(l.pid, &transport.Abort{}) }

func (l *link) node() Node {
	frames, bytes := l.actor.Queued()
	return Node{Kind: "transport", Name: "transport", State: fmt.Sprintf("%d bytes queued", bytes), Mailbox: frames}
}
