package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// ListenPlain makes the network of the vat "plain:<name>": sockets without TLS, in which peers are believed to
// be who they say. So it keeps to loopback and Unix sockets, and fails for others, in listening and in dialing.
// addr is as for ListenTLS. Never the default: it is for tests, and for looking at what goes over the wire.
func ListenPlain(addr string, name string, cfg Config) (Network, error) {
	id, err := ParseVatID(plainPrefix + name)
	if err != nil {
		return nil, err
	}
	cfg, err = cfg.withDefaults(timeEpoch())
	if err != nil {
		return nil, err
	}
	if addr != "" {
		if err := checkLocal(listenPlace(addr)); err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
	}
	n, err := startSockets(addr, cfg.hello(id), cfg, plainLayer{}, checkLocalAddr)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// plainLayer is a socket as it is. It proves nothing.
type plainLayer struct{}

func (plainLayer) checkDial(peer VatID, to place) error {
	if !peer.IsPlain() {
		return fmt.Errorf("vat %s is known by its key, which plain mode cannot check", peer)
	}
	return checkLocal(to)
}

func (plainLayer) secure(_ context.Context, sock socket, _ VatID) (stream, VatID, error) {
	// What was asked before was only the name: "localhost" may have meant another machine.
	if err := checkLocalAddr(sock.RemoteAddr()); err != nil {
		return nil, "", err
	}
	return sock, "", nil
}

func (plainLayer) sign([]byte) []byte { return nil }

var errNotLoopback = errors.New("plain mode is for loopback addresses only: use TLS")

// checkLocal is asked before anything is opened, and so goes by the text alone.
func checkLocal(p place) error {
	if p.network == unixNetwork {
		return nil
	}
	host, _, err := net.SplitHostPort(p.address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("%s: %w", p.address, errNotLoopback)
	}
	return nil
}

func checkLocalAddr(addr net.Addr) error {
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		return fmt.Errorf("%s: %w", addr, errNotLoopback)
	}
	return nil
}
