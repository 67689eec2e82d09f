package systems

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// raw is the floor: frames there and back over connections, with nothing on top. Calls that are under way at
// the same time have a connection each.
type raw struct{}

func (raw) Name() string { return "raw" }

// Frames are a length and so many bytes; those whose length has the top bit are not sent back, except for an empty one.
const (
	lengthBytes = 4
	oneWay      = 1 << 31
)

// overhead is what a small call has on the wire besides its data, so that the floor moves as many bytes.
const overhead = 96

func (raw) Serve(t Transport) (Server, error) {
	l, addr, remove, err := listen(t)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() { bounce(c) })
		}
	})
	return &server{addr, closers{func() error {
		err := l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close() // ended by the other side, perhaps
		}
		mu.Unlock()
		all.Wait()
		return err
	}, remove}}, nil
}

func bounce(c net.Conn) {
	defer c.Close()
	var frame []byte
	for {
		var header [lengthBytes]byte
		if _, err := io.ReadFull(c, header[:]); err != nil {
			return
		}
		n := binary.LittleEndian.Uint32(header[:])
		size := int(n &^ oneWay)
		if cap(frame) < lengthBytes+size {
			frame = make([]byte, lengthBytes+size)
		}
		frame = append(frame[:0], header[:]...)[:lengthBytes+size]
		if _, err := io.ReadFull(c, frame[lengthBytes:]); err != nil {
			return
		}
		if n&oneWay != 0 && size > 0 {
			continue
		}
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}

func (raw) Dial(ctx context.Context, t Transport, addr string) (Caller, error) {
	r := &rawCaller{transport: t, addr: addr}
	return r, r.Echo(ctx, nil)
}

// rawCaller keeps the connections that no call uses.
type rawCaller struct {
	transport Transport
	addr      string

	mu   sync.Mutex
	idle []*rawConn
}

type rawConn struct {
	net.Conn
	out, in []byte
}

// borrow is a connection for one call, made if there is none.
func (r *rawCaller) borrow(ctx context.Context) (*rawConn, error) {
	r.mu.Lock()
	if last := len(r.idle) - 1; last >= 0 {
		c := r.idle[last]
		r.idle = r.idle[:last]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, err := dial(ctx, r.transport, r.addr)
	return &rawConn{Conn: c}, err
}

func (r *rawCaller) giveBack(c *rawConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = append(r.idle, c)
}

func (r *rawCaller) Echo(ctx context.Context, data []byte) error {
	c, err := r.borrow(ctx)
	if err != nil {
		return err
	}
	size := len(data) + overhead
	if err := c.write(data, uint32(size), size); err != nil {
		return errors.Join(err, c.Close())
	}
	if _, err := io.ReadFull(c, c.in[:lengthBytes+size]); err != nil {
		return errors.Join(err, c.Close())
	}
	r.giveBack(c)
	return nil
}

func (c *rawConn) write(data []byte, header uint32, size int) error {
	if cap(c.out) < lengthBytes+size {
		c.out, c.in = make([]byte, lengthBytes+size), make([]byte, lengthBytes+size)
	}
	frame := c.out[:lengthBytes+size]
	binary.LittleEndian.PutUint32(frame, header)
	copy(frame[lengthBytes:], data)
	_, err := c.Write(frame)
	return err
}

func (r *rawCaller) Stream(ctx context.Context, data []byte, n int) error {
	c, err := r.borrow(ctx)
	if err != nil {
		return err
	}
	size := len(data) + overhead
	for range n {
		if err := c.write(data, uint32(size)|oneWay, size); err != nil {
			return errors.Join(err, c.Close())
		}
	}
	if err := c.write(nil, oneWay, 0); err != nil {
		return errors.Join(err, c.Close())
	}
	if _, err := io.ReadFull(c, c.in[:lengthBytes]); err != nil {
		return errors.Join(err, c.Close())
	}
	r.giveBack(c)
	return nil
}

func (r *rawCaller) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.idle {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
