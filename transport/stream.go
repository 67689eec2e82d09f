package transport

import (
	"context"
	"fmt"
	"io"
	"sync"

	"capnproto.org/go/capnp/v3"
)

// A stream is what a medium gives: bytes both ways, in order. *net.TCPConn and *tls.Conn are streams.
type stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// streamConn is a Conn on any stream.
type streamConn struct {
	local, peer Hello
	remote      string
	stream      stream
	in          *frameReader
	out         frameWriter

	closing  sync.Once
	closeErr error
}

// greet sends our hello, reads the peer's, and returns the connection on which both are done. It
// blocks as long as the stream does. The caller closes the stream on an error.
func greet(s stream, remote string, local Hello, proven VatID, limits Limits) (*streamConn, error) {
	hello, err := local.frame()
	if err != nil {
		return nil, err
	}
	// Both sides send before they read, which cannot lock up: a hello is smaller than any medium's buffer.
	if _, err := s.Write(hello); err != nil {
		return nil, fmt.Errorf("transport: sending hello: %w", err)
	}
	in := newFrameReader(s, helloLimits)
	peer, err := readHello(in, local, proven)
	if err != nil {
		return nil, err
	}
	in.limits = limits
	return &streamConn{local: local, peer: peer, remote: remote, stream: s, in: in, out: frameWriter{w: s}}, nil
}

func (c *streamConn) Local() Hello                       { return c.local }
func (c *streamConn) Peer() Hello                        { return c.peer }
func (c *streamConn) RemoteAddr() string                 { return c.remote }
func (c *streamConn) Limits() Limits                     { return c.in.limits }
func (c *streamConn) WriteFrames(frames [][]byte) error  { return c.out.write(frames) }
func (c *streamConn) ReadFrame() (*capnp.Message, error) { return c.in.next() }
func (c *streamConn) CloseWrite() error                  { return c.stream.CloseWrite() }

func (c *streamConn) Close() error {
	c.closing.Do(func() { c.closeErr = c.stream.Close() })
	return c.closeErr
}

// closeWhenDone closes s once ctx is done, to unblock whoever reads or writes it. stop ends that, and
// returns why ctx ended if it did first.
func closeWhenDone(ctx context.Context, s io.Closer) (stop func() error) {
	cancel := context.AfterFunc(ctx, func() { s.Close() })
	return func() error {
		if !cancel() {
			return context.Cause(ctx)
		}
		return nil
	}
}
