package cluster

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// socket is where the gossip's packets and streams come from and go to. What it adds to memberlist's own is an end:
// memberlist waits neither for a stream that it opens nor gives it up when it is shut down.
type socket struct {
	*memberlist.NetTransport
	ctx     context.Context           // done when the node closes
	reaches func(address string) bool // of Config
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (s *socket) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	if s.reaches != nil && !s.reaches(to.Addr) {
		return time.Now(), nil // a packet that is lost
	}
	return s.NetTransport.WriteToAddress(b, to)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *socket) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if s.reaches != nil && !s.reaches(to.Addr) {
		return nil, syscall.EHOSTUNREACH
	}
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(s.ctx, "tcp", to.Addr)
	if err != nil {
		return nil, err
	}
	return &boundConn{conn, context.AfterFunc(s.ctx, func() { conn.Close() })}, nil
}

// boundConn is a connection that closes by itself when its context is done.
type boundConn struct {
	net.Conn
	stop func() bool
}

func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}
