package transport

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
)

// twoPartyPrefix begins the pseudo ids of peers that have none. No plain vat can be named so, for plain names
// have no "/": such an id is never parsed, never encoded, and never equals that of a vat.
const twoPartyPrefix = plainPrefix + "two-party/"

var twoPartySerial atomic.Uint64

// TwoParty makes a Conn of a connection to a peer that knows nothing of vat networks: level 1 of rpc.capnp in
// the standard stream framing, from the first byte, as go-capnp's rpc and the C++ library's
// TwoPartyVatNetwork speak it. No hello is sent and none is expected.
//
// Its Peer has no features, and an id such as "plain:two-party/7@127.0.0.1:4711" that no other connection has
// and no vat can have: the peer has proven nothing, and can neither be dialed nor named to others. The id
// is for logs and for Vat.EndSession.
//
// rw is the Conn's from then on; a TLS handshake on it is best done before, for nothing here bounds it in time.
// Where rw has no CloseWrite, neither has the Conn: CloseWrite does nothing. Of cfg, Limits and Wrap
// count.
func TwoParty(rw net.Conn, cfg Config) Conn {
	limits := cfg.Limits.withDefaults()
	keepAlive(rw, limits.KeepAlive)
	s, ok := rw.(stream)
	if !ok {
		s = wholeConn{rw}
	}
	if sock, ok := rw.(socket); ok {
		s = quick(sock)
	}
	c := Conn(&streamConn{
		peer:   Hello{ID: twoPartyID(rw.RemoteAddr())},
		remote: twoPartyAddr(rw.RemoteAddr()),
		stream: s,
		in:     newFrameReader(s, limits),
		out:    frameWriter{w: s},
	})
	if cfg.Wrap != nil {
		c = cfg.Wrap(c)
	}
	return c
}

// IsTwoParty reports whether id stands for one connection of TwoParty, and not for a vat.
func (id VatID) IsTwoParty() bool { return strings.HasPrefix(string(id), twoPartyPrefix) }

// twoPartyID is what is printable of the address behind a number that is never given again.
func twoPartyID(addr net.Addr) VatID {
	visible := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, addr.String())
	id := fmt.Sprintf("%s%d@%s", twoPartyPrefix, twoPartySerial.Add(1), visible)
	return VatID(id[:min(len(id), len(plainPrefix)+MaxNameBytes)])
}

func twoPartyAddr(addr net.Addr) string { return addr.Network() + "!" + addr.String() }

// wholeConn is a connection whose directions end together, such as a net.Pipe.
type wholeConn struct{ net.Conn }

func (wholeConn) CloseWrite() error { return nil }
