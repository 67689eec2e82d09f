package transport

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
)

// keepAliveProbes is how many probes in a row may stay unanswered.
const keepAliveProbes = 3

// keepAlive has the system find out when the other end of conn is gone without a word, which a peer that
// merely has nothing to say is not. It does nothing for what is not TCP. See Limits.KeepAlive for every.
func keepAlive(conn net.Conn, every time.Duration) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	tcp, ok := conn.(interface {
		syscall.Conn
		SetKeepAliveConfig(net.KeepAliveConfig) error
	})
	if !ok {
		return
	}
	// An error says that the system has no such option, or that the connection is closed already: whoever
	// reads will see the latter.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable:   every > 0,
		Idle:     every,
		Interval: every,
		Count:    keepAliveProbes,
	})
	if every > 0 {
		giveUpAfter(tcp, (keepAliveProbes+1)*every)
	}
}
