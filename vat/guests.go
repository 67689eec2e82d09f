package vat

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// Guests are the peers that connect through ServeTwoParty. Each takes a place when it is accepted and gives it
// back when its session has stopped, or when its TLS handshake has failed: there are Limits.TwoParty.

// maxRefusals is how many connections at a time are told that no place is left, for them or for one more session;
// others are hung up on.
const maxRefusals = 16

// welcome makes a session of an accepted connection, or refuses it. It does not wait for the peer.
func (v *Vat) welcome(conn net.Conn) {
	v.mu.Lock()
	why := v.closingError()
	if max := v.limits.TwoParty; why == nil && v.guests >= max {
		why = v.beyondLimit("TwoParty", max, "two-party sessions")
	}
	if v.closed || why != nil && v.refusals >= maxRefusals {
		v.mu.Unlock()
		conn.Close()
		return
	}
	count, handle := &v.guests, v.takeGuest
	if why != nil {
		count, handle = &v.refusals, func(conn net.Conn) { v.refuseGuest(conn, why) }
	}
	*count++
	v.goroutines.Add(1)
	v.mu.Unlock()
	go func() {
		defer v.goroutines.Done()
		handle(conn)
	}()
}

// takeGuest owns conn and its place, which the session takes over.
func (v *Vat) takeGuest(conn net.Conn) {
	if err := v.secureGuest(conn); err != nil {
		v.log.Info("connection refused", "from", conn.RemoteAddr(), "err", err)
		conn.Close()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.guests--
		return
	}
	tc := transport.TwoParty(conn, v.twoParty)
	v.mu.Lock()
	s := v.newSessionLocked(tc.Peer().ID, nil, false)
	if s.guest = s.end.Load() == nil; !s.guest {
		v.guests-- // there is no session that would stop
	}
	v.mu.Unlock()
	if !s.post(&opened{tc, false}) {
		tc.Close()
		return
	}
	s.run()
}

// secureGuest does the handshake, of TLS, before there is a session: it is bounded in time.
func (v *Vat) secureGuest(conn net.Conn) error {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := v.handshakeContext(context.Background())
	defer cancel()
	return v.inTime(ctx, t.HandshakeContext(ctx))
}

// refuseGuest says why in an Abort, and gives the peer a moment to read it: closing while bytes of its are unread
// would make TCP throw the Abort away.
func (v *Vat) refuseGuest(conn net.Conn, why error) {
	grace := v.twoParty.Limits.CloseGrace
	if grace <= 0 {
		grace = transport.DefaultLimits().CloseGrace
	}
	enough := time.AfterFunc(grace, func() { conn.Close() })
	closed := context.AfterFunc(v.ctx, func() { conn.Close() })
	defer func() {
		enough.Stop()
		closed()
		conn.Close()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.refusals--
	}()
	v.log.Warn("connection refused", "from", conn.RemoteAddr(), "err", why)
	if _, err := conn.Write(must(msgAbort(why).Message().Marshal())); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, conn)
}

// turnAway has a vat that connected told why there is no session for it, in an Abort, and hangs up after a moment to
// read that. What it sends meanwhile is left unread. It does not wait.
func (v *Vat) turnAway(conn transport.Conn, why error) {
	v.dismiss(conn, func(ctx context.Context) {
		v.log.Warn("connection refused", "peer", string(conn.Peer().ID), "err", why)
		if conn.WriteFrames([][]byte{must(msgAbort(why).Message().Marshal())}) == nil && conn.CloseWrite() == nil {
			<-ctx.Done()
		}
	})
}

// hangUp ends a connection that is one too many. The peer is to read an end, and may by then have sent something: to
// close while that is unread would have TCP say that the connection broke. So it is thrown away until the peer hangs up,
// too, or for a moment. hangUp does not wait.
func (v *Vat) hangUp(conn transport.Conn) {
	v.dismiss(conn, func(context.Context) {
		err := conn.CloseWrite()
		for err == nil {
			_, err = conn.ReadFrame()
		}
	})
}

// dismiss has leave called, on a goroutine, and then closes conn, which it does in any case after Limits.CloseGrace.
func (v *Vat) dismiss(conn transport.Conn, leave func(context.Context)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.refusals >= maxRefusals {
		conn.Close()
		return
	}
	v.refusals++
	v.goroutines.Add(1)
	ctx, cancel := context.WithTimeout(v.ctx, conn.Limits().CloseGrace)
	go func() {
		defer v.goroutines.Done()
		defer cancel()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		leave(ctx)
		conn.Close()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.refusals--
	}()
}
