package transport

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
)

// session is an Upcall that remembers.
type session struct {
	got   chan uint64
	ended chan error
}

func newSession() *session {
	return &session{got: make(chan uint64, 1000), ended: make(chan error, 2)}
}

func (s *session) Frame(msg *capnp.Message) { s.got <- number(msg) }
func (s *session) Closed(err error)         { s.ended <- err }

// driven is a transport actor without an actor system: Receive is called as the inline mailbox would.
type driven struct {
	*Actor
	*session
}

func drive(t *testing.T, c Conn, limits Limits) driven {
	t.Helper()
	s := newSession()
	a := NewActor(c, s, limits)().(*Actor)
	d := driven{a, s}
	d.tell(&actor.Started{})
	return d
}

// fakeContext is as much of a Context as Receive looks at.
type fakeContext struct {
	actor.Context
	message any
}

func (c fakeContext) Message() any { return c.message }

func (d driven) tell(message any) { d.Receive(fakeContext{message: message}) }

// stuckConn is a connection whose peer does not read: a write lasts until Close.
type stuckConn struct {
	Conn
	writing chan struct{} // a write has begun
	closed  chan struct{}
	once    sync.Once
}

func newStuckConn(c Conn) *stuckConn {
	return &stuckConn{Conn: c, writing: make(chan struct{}, 1), closed: make(chan struct{})}
}

func (c *stuckConn) WriteFrames([][]byte) error {
	select {
	case c.writing <- struct{}{}:
	default:
	}
	<-c.closed
	return net.ErrClosed
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestActorInSystem(t *testing.T) {
	system := actor.NewActorSystem()
	defer system.Shutdown()
	_, a, b := memPair(t)
	s := newSession()
	producer := NewActor(a, s, Limits{})
	pid := system.Root.Spawn(actor.PropsFromProducer(producer, actors.Inline()))

	system.Root.Send(pid, &Send{frame(1)})
	system.Root.Send(pid, &Send{frame(2)})
	want(t, b, 1, 2)
	write(t, b, 3, 4)
	for _, n := range []uint64{3, 4} {
		if got := <-s.got; got != n {
			t.Errorf("got frame %d, want %d", got, n)
		}
	}
	if err := system.Root.StopFuture(pid).Wait(); err != nil {
		t.Fatal(err)
	}
	<-producer().(*Actor).Done()
	if err := <-s.ended; err != net.ErrClosed {
		t.Errorf("Closed(%v), want net.ErrClosed", err)
	}
	if _, err := b.ReadFrame(); err != io.EOF {
		t.Errorf("the peer reads %v, want io.EOF", err)
	}
}

func TestActorReadsWhileAWriteIsStuck(t *testing.T) {
	_, a, b := memPair(t)
	stuck := newStuckConn(a)
	d := drive(t, stuck, Limits{})
	d.tell(&Send{frame(1)})
	<-stuck.writing
	for i := range uint64(100) {
		d.tell(&Send{frame(2)})
		write(t, b, i)
		if got := <-d.got; got != i {
			t.Fatalf("got frame %d, want %d", got, i)
		}
	}
	frames, bytes := d.Queued()
	if want := 101 * len(frame(1)); frames != 101 || bytes != want {
		t.Errorf("Queued = %d, %d; want 101, %d", frames, bytes, want)
	}
	d.tell(&actor.Stopping{})
	<-d.Done()
	if frames, bytes := d.Queued(); frames != 0 || bytes != 0 {
		t.Errorf("Queued = %d, %d after the end", frames, bytes)
	}
	if err := <-d.ended; err != net.ErrClosed {
		t.Errorf("Closed(%v), want net.ErrClosed", err)
	}
}

func TestActorBoundsItsQueue(t *testing.T) {
	_, a, _ := memPair(t)
	stuck := newStuckConn(a)
	limit := 10 * len(frame(1))
	d := drive(t, stuck, Limits{MaxQueuedBytes: limit})
	for range 10 {
		d.tell(&Send{frame(1)})
	}
	if _, bytes := d.Queued(); bytes != limit {
		t.Errorf("%d bytes are queued, want %d", bytes, limit)
	}
	d.tell(&Send{frame(1)})
	<-d.Done()
	var slow *SlowPeerError
	if err := <-d.ended; !errors.As(err, &slow) || slow.Limit != limit {
		t.Errorf("Closed(%v), want *SlowPeerError", err)
	}
}

func TestActorBatches(t *testing.T) {
	_, a, _ := memPair(t)
	c := &batchConn{Conn: a, batches: make(chan int), proceed: make(chan struct{})}
	d := drive(t, c, Limits{})
	d.tell(&Send{frame(0)})
	if got := <-c.batches; got != 1 {
		t.Errorf("a write of %d frames, want 1", got)
	}
	for range 5 { // while that write goes on
		d.tell(&Send{frame(0)})
	}
	c.proceed <- struct{}{}
	if got := <-c.batches; got != 5 {
		t.Errorf("a write of %d frames, want all 5", got)
	}
	c.proceed <- struct{}{}
	d.tell(&Close{})
	<-d.Done()
}

// batchConn lets a test watch each write begin, and end it.
type batchConn struct {
	Conn
	batches chan int
	proceed chan struct{}
}

func (c *batchConn) WriteFrames(frames [][]byte) error {
	c.batches <- len(frames)
	<-c.proceed
	return c.Conn.WriteFrames(frames)
}

func TestActorAbort(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, b := connect(t, alice, bob)
		d := drive(t, a, Limits{CloseGrace: time.Hour})
		d.tell(&Send{frame(1)})
		d.tell(&Abort{frame(2)})
		d.tell(&Send{frame(3)})   // dropped
		d.tell(&Abort{frame(4)})  // too
		d.tell(&actor.Stopping{}) // does not cut it short
		want(t, b, 1, 2)
		if _, err := b.ReadFrame(); err != io.EOF {
			t.Errorf("after the abort: %v, want io.EOF", err)
		}
		write(t, b, 5) // still heard
		b.Close()
		<-d.Done() // long before the hour is over
		if got := <-d.got; got != 5 {
			t.Errorf("got frame %d, want 5", got)
		}
		if err := <-d.ended; err != io.EOF {
			t.Errorf("Closed(%v), want io.EOF", err)
		}
	})
}

func TestActorAbortAfterBadFrame(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, b := connect(t, alice, bob)
		d := drive(t, a, Limits{CloseGrace: time.Hour})
		sent := make(chan error, 1)
		go func() { // more than the medium takes, so that the peer is busy until it is read
			sent <- b.WriteFrames([][]byte{frame(1), header(0xffffffff), make([]byte, 8<<20)})
		}()
		var bad *FrameError
		if err := <-d.ended; !errors.As(err, &bad) {
			t.Fatalf("Closed(%v), want *FrameError", err)
		}
		d.tell(&Abort{frame(2)})
		if err := <-sent; err != nil {
			t.Errorf("the peer was hung up on while it sent: %v", err)
		}
		want(t, b, 2)
		b.Close()
		<-d.Done()
	})
}

func TestActorAbortInGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, wrap := range map[string]func(Conn) Conn{
			"the peer does not close": func(c Conn) Conn { return c },
			"the peer does not read":  func(c Conn) Conn { return newStuckConn(c) },
		} {
			_, a, _ := memPair(t)
			d := drive(t, wrap(a), Limits{CloseGrace: time.Minute})
			start := time.Now()
			d.tell(&Abort{frame(1)})
			<-d.Done()
			if waited := time.Since(start); waited != time.Minute {
				t.Errorf("%s: closed after %v, want a minute", name, waited)
			}
			if err := <-d.ended; err != net.ErrClosed {
				t.Errorf("%s: Closed(%v), want net.ErrClosed", name, err)
			}
		}
	})
}

func TestActorPeerEnds(t *testing.T) {
	_, a, b := memPair(t)
	d := drive(t, a, Limits{})
	write(t, b, 1)
	if err := b.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-d.ended; err != io.EOF {
		t.Errorf("Closed(%v), want io.EOF", err)
	}
	if got := <-d.got; got != 1 {
		t.Errorf("got frame %d, want 1", got)
	}
	d.tell(&Send{frame(2)}) // the other direction is open still
	want(t, b, 2)
	d.tell(&Close{})
	<-d.Done()
	select {
	case err := <-d.ended:
		t.Errorf("Closed again: %v", err)
	default:
	}
}

// A write fails while the peer's reason for ending is still to be read.
func TestActorWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := memPair(t)
		d := drive(t, brokenConn{a}, Limits{CloseGrace: time.Minute})
		d.tell(&Send{frame(1)})
		synctest.Wait()
		write(t, b, 2)
		if got := <-d.got; got != 2 {
			t.Errorf("got frame %d, want 2", got)
		}
		d.tell(&Send{frame(3)})
		if frames, _ := d.Queued(); frames != 0 {
			t.Errorf("%d frames are queued for nobody", frames)
		}
		if err := <-d.ended; err != errBroken { // once the grace is over
			t.Errorf("Closed(%v), want the error of the write", err)
		}
		<-d.Done()
	})
}

func TestActorNeverStarted(t *testing.T) {
	_, a, b := memPair(t)
	d := driven{NewActor(a, newSession(), Limits{})().(*Actor), nil}
	d.tell(&Close{})
	<-d.Done()
	d.tell(&actor.Started{})
	d.tell(&Send{frame(1)})
	if _, err := b.ReadFrame(); err != io.EOF {
		t.Errorf("the peer reads %v, want io.EOF", err)
	}
}
