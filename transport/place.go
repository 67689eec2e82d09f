package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

const (
	tcpNetwork  = "tcp"
	unixNetwork = "unix"

	tcpScheme = tcpNetwork + "!"

	// listenUnix is in front of the path of a Unix socket to listen on.
	listenUnix = unixNetwork + ":"
)

// maxAddrs is how many addresses a vat that listens on all interfaces advertises.
const maxAddrs = 4

// A place is an address taken apart: host:port of TCP, or the path of a Unix socket.
type place struct{ network, address string }

// parsePlace reads an address as it is advertised, such as "tcp!127.0.0.1:4711" or "unix!/run/vat.sock".
func parsePlace(addr string) (place, error) {
	network, rest, ok := strings.Cut(addr, "!")
	if !ok || rest == "" || network != tcpNetwork && network != unixNetwork {
		return place{}, fmt.Errorf("an address of another network: want %shost:port, or %s!path", tcpScheme, unixNetwork)
	}
	return place{network, rest}, nil
}

// listenPlace reads an address to listen on: host:port, or unix:path.
func listenPlace(addr string) place {
	if path, ok := strings.CutPrefix(addr, listenUnix); ok {
		return place{unixNetwork, path}
	}
	return place{tcpNetwork, addr}
}

func (p place) listen() (net.Listener, error) {
	ln, err := net.Listen(p.network, p.address)
	switch {
	case p.network != unixNetwork || err == nil:
		return ln, err
	case errors.Is(err, syscall.EINVAL):
		return nil, fmt.Errorf("%w: the path of a Unix socket has about 100 bytes at most, %q has %d", err, p.address, len(p.address))
	case !errors.Is(err, syscall.EADDRINUSE) || !p.abandoned():
		return nil, err
	}
	if err := os.Remove(p.address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen(p.network, p.address)
}

// abandoned reports whether there is a socket at the path that nobody listens on any more, as a process that was
// killed leaves behind. Anything else there is not ours to remove.
func (p place) abandoned() bool {
	if info, err := os.Lstat(p.address); err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := net.Dial(p.network, p.address)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// of is where a connection that was accepted here comes from. Clients of a Unix socket have no address: the
// listener's is given, which says more than nothing.
func (p place) of(remote net.Addr) string {
	if p.network == unixNetwork {
		return unixNetwork + "!" + p.address
	}
	return tcpScheme + remote.String()
}

// advertised is where others may find what listens on bound.
func (p place) advertised(bound net.Addr) []string {
	if tcp, ok := bound.(*net.TCPAddr); ok {
		return advertised(tcp)
	}
	return []string{p.of(nil)}
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
