package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

const tcpScheme = "tcp!"

// maxAddrs is how many addresses a vat that listens on all interfaces advertises.
const maxAddrs = 4

// A layer is what distinguishes the networks over TCP: what lies on top of a connection, and whom it proves.
type layer interface {
	// checkDial tells before a connection is made whether there can be one.
	checkDial(peer VatID, hostport string) error
	// secure turns a TCP connection into the stream that carries frames, and returns the VatID that it
	// proves the peer to have, "" for none. want is the vat that was dialed, "" where we were. It gives up
	// when ctx is done; the caller closes tcp on an error.
	secure(ctx context.Context, tcp *net.TCPConn, want VatID) (stream, VatID, error)
}

// tcpNetwork is a Network over TCP. While it is open there is one goroutine that accepts connections, and one
// for each guest of the lobby.
type tcpNetwork struct {
	local  Hello
	cfg    Config
	layer  layer
	listen *net.TCPListener // nil where this network only dials
	lobby  *lobby
	ready  chan Conn

	ctx    context.Context // done once closed
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// startTCP listens on addr, host:port, unless it is "". checkListen is asked about the address that came
// of it.
func startTCP(addr string, local Hello, cfg Config, l layer, checkListen func(*net.TCPAddr) error) (*tcpNetwork, error) {
	n := &tcpNetwork{local: local, cfg: cfg, layer: l, lobby: newLobby(cfg.Limits), ready: make(chan Conn)}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	if addr == "" {
		return n, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	n.listen = ln.(*net.TCPListener)
	if err := checkListen(ln.Addr().(*net.TCPAddr)); err != nil {
		ln.Close()
		return nil, err
	}
	n.wg.Go(n.acceptLoop)
	return n, nil
}

func (n *tcpNetwork) LocalID() VatID { return n.local.ID }

func (n *tcpNetwork) Dial(ctx context.Context, peer VatID, addrs []string) (Conn, error) {
	if peer == n.local.ID {
		return nil, fmt.Errorf("transport: %s is this vat itself", peer)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("transport: no address of vat %s is known", peer)
	}
	var tries []error
	for _, addr := range addrs {
		conn, err := n.dialOne(ctx, peer, addr)
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

func (n *tcpNetwork) dialOne(ctx context.Context, peer VatID, addr string) (Conn, error) {
	hostport, ok := strings.CutPrefix(addr, tcpScheme)
	if !ok {
		return nil, fmt.Errorf("an address of another network: want %shost:port", tcpScheme)
	}
	if err := n.layer.checkDial(peer, hostport); err != nil {
		return nil, err
	}
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	var dialer net.Dialer
	tcp, err := dialer.DialContext(ctx, "tcp", hostport)
	if err != nil {
		return nil, explain(ctx, err)
	}
	return n.open(ctx, tcp.(*net.TCPConn), addr, peer)
}

// bounded ends with ctx, with the network, and after the time that a handshake may take.
func (n *tcpNetwork) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancelCause := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancelCause(net.ErrClosed) })
	limit := n.cfg.Limits.HandshakeTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %v: %w", limit, context.DeadlineExceeded))
	return ctx, func() {
		stop()
		cancel()
		cancelCause(nil)
	}
}

// open does the handshake and the hellos. It owns tcp.
func (n *tcpNetwork) open(ctx context.Context, tcp *net.TCPConn, remote string, want VatID) (Conn, error) {
	keepAlive(tcp, n.cfg.Limits.KeepAlive)
	stop := closeWhenDone(ctx, tcp)
	conn, err := n.handshake(ctx, tcp, remote, want)
	if cause := stop(); cause != nil && err == nil {
		err = cause
	}
	if err != nil {
		tcp.Close()
		return nil, explain(ctx, err)
	}
	return n.cfg.Wrap(conn), nil
}

func (n *tcpNetwork) handshake(ctx context.Context, tcp *net.TCPConn, remote string, want VatID) (Conn, error) {
	s, proven, err := n.layer.secure(ctx, tcp, want)
	if err != nil {
		return nil, err
	}
	conn, err := greet(s, remote, n.local, proven, n.cfg.Limits)
	if err != nil {
		return nil, err
	}
	if got := conn.Peer().ID; want != "" && got != want {
		return nil, &WrongVatError{Want: want, Got: got}
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

func (n *tcpNetwork) Accept() (Conn, error) {
	select {
	case conn := <-n.ready:
		return conn, nil
	case <-n.ctx.Done():
		return nil, net.ErrClosed
	}
}

// acceptLoop never gives up on an error but that of closing: what fails is the lack of something, file
// descriptors most likely, that will be there again.
func (n *tcpNetwork) acceptLoop() {
	const minPause, maxPause = 5 * time.Millisecond, time.Second
	pause := minPause
	for {
		tcp, err := n.listen.AcceptTCP()
		switch {
		case err == nil:
			pause = minPause
			n.admit(tcp)
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

func (n *tcpNetwork) admit(tcp *net.TCPConn) {
	ctx, showOut := context.WithCancel(n.ctx)
	g := n.lobby.enter(n.ctx, showOut)
	if g == nil {
		showOut()
		tcp.Close()
		return
	}
	n.wg.Go(func() {
		defer showOut()
		defer n.lobby.leave(g)
		n.welcome(ctx, tcp)
	})
}

// welcome brings an accepted connection as far as Accept.
func (n *tcpNetwork) welcome(ctx context.Context, tcp *net.TCPConn) {
	remote := tcpScheme + tcp.RemoteAddr().String()
	shaking, cancel := n.bounded(ctx)
	defer cancel()
	conn, err := n.open(shaking, tcp, remote, "")
	if err != nil {
		if n.ctx.Err() == nil {
			n.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "connection refused", slog.String("from", remote), slog.Any("error", err))
		}
		return
	}
	select {
	case n.ready <- conn:
	case <-ctx.Done():
		conn.Close()
	}
}

func (n *tcpNetwork) Addrs() []string {
	if n.listen == nil {
		return nil
	}
	return advertised(n.listen.Addr().(*net.TCPAddr))
}

// advertised is where others may find what listens on bound.
func advertised(bound *net.TCPAddr) []string {
	if !bound.IP.IsUnspecified() {
		return []string{tcpScheme + bound.String()}
	}
	var addrs []string
	for _, ip := range interfaceIPs() {
		addrs = append(addrs, tcpScheme+(&net.TCPAddr{IP: ip, Port: bound.Port}).String())
	}
	return addrs
}

// interfaceIPs are the addresses under which this machine may be reached, loopback only if there is no other.
func interfaceIPs() []net.IP {
	all, err := net.InterfaceAddrs()
	if err != nil {
		all = nil
	}
	var ips []net.IP
	for _, a := range all {
		if ipnet, ok := a.(*net.IPNet); ok && ipnet.IP.IsGlobalUnicast() && len(ips) < maxAddrs {
			ips = append(ips, ipnet.IP)
		}
	}
	if len(ips) == 0 {
		ips = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	return ips
}

func (n *tcpNetwork) Close() error {
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
