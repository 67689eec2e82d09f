package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// ListenPlain makes the network of the vat "plain:<name>": TCP without TLS, in which peers are believed to
// be who they say. So it keeps to loopback addresses, and fails for others, in listening and in dialing.
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
		if err := checkLoopback(addr); err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
	}
	n, err := startTCP(addr, cfg.hello(id), cfg, plainLayer{}, checkLoopbackIP)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// plainLayer is TCP as it is. It proves nothing.
type plainLayer struct{}

func (plainLayer) checkDial(peer VatID, hostport string) error {
	if !peer.IsPlain() {
		return fmt.Errorf("vat %s is known by its key, which plain mode cannot check", peer)
	}
	return checkLoopback(hostport)
}

func (plainLayer) secure(_ context.Context, tcp *net.TCPConn, _ VatID) (stream, VatID, error) {
	// What was asked before was only the name: "localhost" may have meant another machine.
	if err := checkLoopbackIP(tcp.RemoteAddr().(*net.TCPAddr)); err != nil {
		return nil, "", err
	}
	return tcp, "", nil
}

var errNotLoopback = errors.New("plain mode is for loopback addresses only: use TLS")

// checkLoopback is asked before anything is opened, and so goes by the text alone.
func checkLoopback(hostport string) error {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("%s: %w", hostport, errNotLoopback)
	}
	return nil
}

func checkLoopbackIP(addr *net.TCPAddr) error {
	if !addr.IP.IsLoopback() {
		return fmt.Errorf("%s: %w", addr, errNotLoopback)
	}
	return nil
}
