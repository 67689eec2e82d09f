package transport

import (
	"io"
	"net"
	"sync"

	"capnproto.org/go/capnp/v3"
)

// memConn is one end of a connection in memory. What it writes goes over its link's lane into the other
// end's inbox.
type memConn struct {
	local, peer Hello
	inbox       *inbox
	in          *frameReader
	link        *Link // from here to the peer
	lane        *lane
}

// newMemConn makes n's end of a connection to peer. It can be written on once it has joined the other end.
func newMemConn(n *memNetwork, peer Hello) *memConn {
	box := newInbox()
	return &memConn{
		local: n.local,
		peer:  peer,
		inbox: box,
		in:    newFrameReader(box, n.cfg.Limits),
		link:  n.memory.Link(n.local.ID, peer.ID),
	}
}

// join leads what c writes to far.
func (c *memConn) join(far *memConn) {
	c.lane = c.link.valve.newLane(far.inbox)
	c.link.add(c)
}

func (c *memConn) Local() Hello                       { return c.local }
func (c *memConn) Peer() Hello                        { return c.peer }
func (c *memConn) RemoteAddr() string                 { return memAddr(c.peer.ID) }
func (c *memConn) Limits() Limits                     { return c.in.limits }
func (c *memConn) ReadFrame() (*capnp.Message, error) { return c.in.next() }
func (c *memConn) WriteFrames(frames [][]byte) error  { return c.lane.write(frames) }
func (c *memConn) CloseWrite() error                  { return c.lane.closeWrite() }

// Close is as with TCP: what was written before still arrives, then the peer reads io.EOF.
func (c *memConn) Close() error {
	c.inbox.fail(net.ErrClosed)
	c.link.remove(c)
	_ = c.lane.closeWrite() // it was closed or cut before, or the peer has closed
	return nil
}

// An inbox is what has arrived at one end of a connection.
//
// States: open; ended, when the writer has closed (what has arrived can still be read); failed, when the
// reader has closed or the link was cut (nothing can).
type inbox struct {
	mu     sync.Mutex
	change sync.Cond
	frames [][]byte
	ended  bool
	err    error // failed
}

func newInbox() *inbox {
	b := &inbox{}
	b.change.L = &b.mu
	return b
}

// Read returns bytes of one frame at most, so that a frameReader never reads ahead of the frame it returns:
// what is lost in a cut then depends on what was read as frames alone.
func (b *inbox) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && len(b.frames) == 0 && !b.ended {
		b.change.Wait()
	}
	switch {
	case b.err != nil:
		return 0, b.err
	case len(b.frames) == 0:
		return 0, io.EOF
	}
	n := copy(p, b.frames[0])
	if b.frames[0] = b.frames[0][n:]; len(b.frames[0]) == 0 {
		b.frames[0] = nil
		b.frames = b.frames[1:]
	}
	return n, nil
}

// WriteFrames takes over frames, none of which is empty.
func (b *inbox) WriteFrames(frames [][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return io.ErrClosedPipe
	}
	b.frames = append(b.frames, frames...)
	b.change.Broadcast()
	return nil
}

func (b *inbox) CloseWrite() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.change.Broadcast()
	return nil
}

func (b *inbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err, b.frames = err, nil
	}
	b.change.Broadcast()
}
