package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// A socket is a connection of TCP or of a Unix domain socket.
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// A layer is what distinguishes the networks over sockets: what lies on top of a connection, and whom it proves.
type layer interface {
	// checkDial tells before a connection is made whether there can be one.
	checkDial(peer VatID, to place) error
	// secure turns a socket into the stream that carries frames, and returns the VatID that it
	// proves the peer to have, "" for none. want is the vat that was dialed, "" where we were. It gives up
	// when ctx is done; the caller closes the socket on an error.
	secure(ctx context.Context, sock socket, want VatID) (stream, VatID, error)
	// sign is Network.Sign.
	sign(message []byte) []byte
}

// socketNetwork is a Network over TCP and Unix sockets: it listens on one of either, and dials both. While it is
// open there is one goroutine that accepts connections, and one for each guest of the lobby.
type socketNetwork struct {
	local  Hello
	cfg    Config
	layer  layer
	listen net.Listener // nil where this network only dials
	at     place        // of listen
	lobby  *lobby
	ready  chan Conn

	ctx    context.Context // done once closed
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// startSockets listens on addr, as of ListenTLS, unless it is "". checkListen is asked about the address that came
// of it.
func startSockets(addr string, local Hello, cfg Config, l layer, checkListen func(net.Addr) error) (*socketNetwork, error) {
	n := &socketNetwork{local: local, cfg: cfg, layer: l, lobby: newLobby(cfg.Limits), ready: make(chan Conn)}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	if addr == "" {
		return n, nil
	}
	n.at = listenPlace(addr)
	ln, err := n.at.listen()
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	n.listen = ln
	if err := checkListen(ln.Addr()); err != nil {
		ln.Close()
		return nil, err
	}
	n.wg.Go(n.acceptLoop)
	return n, nil
}

func (n *socketNetwork) LocalID() VatID             { return n.local.ID }
func (n *socketNetwork) Sign(message []byte) []byte { return n.layer.sign(message) }

func (n *socketNetwork) Dial(ctx context.Context, peer VatID, addrs []string) (Conn, error) {
	if peer == n.local.ID {
		return nil, fmt.Errorf("transport: %s is this vat itself", peer)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("transport: no address of vat %s is known", peer)
	}
	if err := n.cfg.admitted(ctx, peer); err != nil {
		return nil, err
	}
	var tries []error
	for i, addr := range addrs {
		conn, err := n.dialOne(ctx, peer, addr, len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		tries = append(tries, fmt.Errorf("transport: dialing %s: %w", addr, err))
		if ctx.Err() != nil || n.ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(tries...)
}

// dialOne dials an address, the first of so many that are left. It takes at most its share of the time that ctx has:
// one that swallows packets must not use up what the good one behind it needs.
func (n *socketNetwork) dialOne(ctx context.Context, peer VatID, addr string, left int) (Conn, error) {
	to, err := parsePlace(addr)
	if err != nil {
		return nil, err
	}
	if err := n.layer.checkDial(peer, to); err != nil {
		return nil, err
	}
	limit := n.cfg.Limits.HandshakeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/time.Duration(left))
	}
	ctx, cancel := n.bounded(ctx, limit)
	defer cancel()
	var dialer net.Dialer
	sock, err := dialer.DialContext(ctx, to.network, to.address)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return n.open(ctx, sock.(socket), addr, peer)
}

// bounded ends with ctx, with the network, and after limit.
func (n *socketNetwork) bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancelCause := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancelCause(net.ErrClosed) })
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %v: %w", limit, context.DeadlineExceeded))
	return ctx, func() {
		stop()
		cancel()
		cancelCause(nil)
	}
}

// open does the handshake and the hellos. It owns sock.
func (n *socketNetwork) open(ctx context.Context, sock socket, remote string, want VatID) (Conn, error) {
	keepAlive(sock, n.cfg.Limits.KeepAlive)
	stop := closeWhenDone(ctx, sock)
	conn, err := n.handshake(ctx, sock, remote, want)
	if cause := stop(); cause != nil && err == nil {
		err = cause
	}
	if err != nil {
		sock.Close()
		return nil, explain(ctx, err)
	}
	return n.cfg.Wrap(conn), nil
}

func (n *socketNetwork) handshake(ctx context.Context, sock socket, remote string, want VatID) (Conn, error) {
	s, proven, err := n.layer.secure(ctx, quick(sock), want)
	if err != nil {
		return nil, err
	}
	conn, err := greet(s, remote, n.local, proven, n.cfg.Limits)
	if err != nil {
		return nil, err
	}
	got := conn.Peer().ID
	if want != "" && got != want {
		return nil, &WrongVatError{Want: want, Got: got}
	}
	if want == "" { // whom we dial has been asked about before
		if err := n.cfg.admitted(ctx, got); err != nil {
			n.cfg.Logger.Warn("vat refused", "peer", string(got), "from", remote, "error", err)
			turnAway(sock, conn, err)
			return nil, err
		}
	}
	return conn, nil
}

// explain puts in front of err why ctx ended, where that is what err comes of: a connection closed
// under a handshake says only that it is closed.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%v)", cause, err)
	}
	return err
}

func (n *socketNetwork) Accept() (Conn, error) {
	select {
	case conn := <-n.ready:
		return conn, nil
	case <-n.ctx.Done():
		return nil, net.ErrClosed
	}
}

// acceptLoop never gives up on an error but that of closing: what fails is the lack of something, file
// descriptors most likely, that will be there again.
func (n *socketNetwork) acceptLoop() {
	const minPause, maxPause = 5 * time.Millisecond, time.Second
	pause := minPause
	for {
		sock, err := n.listen.Accept()
		switch {
		case err == nil:
			pause = minPause
			n.admit(sock.(socket))
		case n.ctx.Err() != nil:
			return
		default:
			n.cfg.Logger.Warn("accepting connections fails, trying again", "error", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-n.ctx.Done():
				return
			}
			pause = min(2*pause, maxPause)
		}
	}
}

func (n *socketNetwork) admit(sock socket) {
	ctx, showOut := context.WithCancel(n.ctx)
	g := n.lobby.enter(n.ctx, showOut)
	if g == nil {
		showOut()
		sock.Close()
		return
	}
	n.wg.Go(func() {
		defer showOut()
		defer n.lobby.leave(g)
		n.welcome(ctx, sock)
	})
}

// welcome brings an accepted connection as far as Accept.
func (n *socketNetwork) welcome(ctx context.Context, sock socket) {
	remote := n.at.of(sock.RemoteAddr())
	shaking, cancel := n.bounded(ctx, n.cfg.Limits.HandshakeTimeout)
	defer cancel()
	conn, err := n.open(shaking, sock, remote, "")
	if err != nil {
		if refused := (*RefusedError)(nil); n.ctx.Err() == nil && !errors.As(err, &refused) { // that has been logged
			n.cfg.Logger.Info("connection refused", "from", remote, "error", err)
		}
		return
	}
	select {
	case n.ready <- conn:
	case <-ctx.Done():
		conn.Close()
	}
}

func (n *socketNetwork) Addrs() []string {
	if n.listen == nil {
		return nil
	}
	return n.at.advertised(n.listen.Addr())
}

func (n *socketNetwork) Close() error {
	n.cancel(net.ErrClosed)
	var err error
	if n.listen != nil {
		err = n.listen.Close()
	}
	n.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil // closed before
	}
	return err
}
