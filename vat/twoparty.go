package vat

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// Peers of level 1 (go-capnp's rpc, the C++ library, whatever speaks the standard stream framing) have no
// identity, no hello and no handoff: one connection, two parties. A session with one is a session like any
// other, with a pseudo id and no features, so what would be handed off is proxied through this vat.

// ServeTwoParty accepts connections of level 1 peers on l until l or the vat is closed, and then returns nil;
// other errors of l, except those that pass by themselves, end it and are returned. It closes l. Each
// connection is a session of the vat, in which its bootstrap capability is offered; sessions outlive l.
//
// l may be of TCP, of Unix sockets, or of crypto/tls (tls.NewListener): who may connect is for l to say, for
// such a peer proves nothing to the vat. At most Limits.TwoParty are connected at a time; those beyond are
// told so by an Abort.
func (v *Vat) ServeTwoParty(l net.Listener) error {
	stop := context.AfterFunc(v.ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	const minPause, maxPause = 5 * time.Millisecond, time.Second
	for pause := minPause; ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = minPause
			v.welcome(conn)
		case errors.Is(err, net.ErrClosed) || v.ctx.Err() != nil:
			return nil
		case !passing(err):
			return fmt.Errorf("vat: accepting two-party connections: %w", err)
		default:
			v.log.Warn("accepting connections fails, trying again", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-v.ctx.Done():
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// passing says whether err is for the lack of something that will be there again, or for a peer that has gone.
func passing(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// DialTwoParty connects to the level 1 peer at address ("tcp", host:port, or "unix", a path) and returns its
// bootstrap capability, a promise. The caller releases it. ctx bounds the dialing only.
//
// The session ends, and the connection with it, when neither side holds anything of the other any more: in
// general once all capabilities that came of this one were released. A peer reached by "tcp" is believed
// to be the right one, and whoever is on the way can read along: see DialTwoPartyTLS.
func (v *Vat) DialTwoParty(ctx context.Context, network, address string) (capnp.Client, error) {
	conn, err := v.dialRaw(ctx, network, address)
	if err != nil {
		return capnp.Client{}, err
	}
	return v.AttachTwoParty(conn)
}

// DialTwoPartyTLS is DialTwoParty over TLS, as cfg says: it names the certificates to trust and to show, and
// where ServerName is empty it is taken from address. ctx bounds the handshake, too.
func (v *Vat) DialTwoPartyTLS(ctx context.Context, network, address string, cfg *tls.Config) (capnp.Client, error) {
	raw, err := v.dialRaw(ctx, network, address)
	if err != nil {
		return capnp.Client{}, err
	}
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(address)
	}
	conn := tls.Client(raw, cfg)
	ctx, cancel := v.handshakeContext(ctx)
	defer cancel()
	if err := v.inTime(ctx, conn.HandshakeContext(ctx)); err != nil {
		raw.Close()
		return capnp.Client{}, fmt.Errorf("vat: TLS with %s: %w", address, err)
	}
	return v.AttachTwoParty(conn)
}

// AttachTwoParty is DialTwoParty for a connection that there is already. It takes it over, also on an error.
func (v *Vat) AttachTwoParty(conn net.Conn) (capnp.Client, error) {
	tc := transport.TwoParty(conn, v.twoParty)
	v.mu.Lock()
	s := v.newSessionLocked(tc.Peer().ID, nil, false)
	s.transient = true
	v.mu.Unlock()
	// Asked before it opens, so that the session never looks unused before it was used.
	c, err := s.bootstrap()
	if err != nil || !s.post(&opened{tc, false}) {
		tc.Close()
		c.Release()
		return capnp.Client{}, s.why()
	}
	s.run()
	return c, nil
}

func (v *Vat) dialRaw(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return nil, fmt.Errorf("vat: two-party connections are made over tcp and unix, not over %q", network)
	}
	ctx, cancel := v.bounded(ctx, "Dial", v.limits.Dial)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err = v.inTime(ctx, err); err != nil {
		return nil, fmt.Errorf("vat: %w", err)
	}
	return conn, nil
}

func (v *Vat) handshakeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := v.twoParty.Limits.HandshakeTimeout
	if limit <= 0 {
		limit = transport.DefaultLimits().HandshakeTimeout
	}
	return v.bounded(ctx, "HandshakeTimeout", limit)
}

// beyond says whether a message is of a level that this peer and we do not share.
func (s *session) beyond(which rpc.Message_Which) bool {
	switch which {
	case rpc.Message_Which_provide, rpc.Message_Which_accept:
		return !s.has(transport.FeatureHandoff)
	}
	return false
}

// importVine is a client for the vine of a capability that a third party hosts: "implementations that don't
// understand how to connect to a third party may simply send calls to the vine".
func (s *session) importVine(d rpc.CapDescriptor) (capnp.Client, error) {
	t, err := d.ThirdPartyHosted()
	if err != nil {
		return capnp.Client{}, fault("unreadable thirdPartyHosted: %v", err)
	}
	return s.importCap(t.VineId(), false)
}
