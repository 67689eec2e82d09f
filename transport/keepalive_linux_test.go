package transport

import (
	"crypto/tls"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probing is what the system was told about probes of a connection, in seconds.
type probing struct{ on, idle, interval, count, giveUp int }

func probingOf(t *testing.T, c net.Conn) (p probing) {
	t.Helper()
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	raw := must(c.(syscall.Conn).SyscallConn())
	err := raw.Control(func(fd uintptr) {
		p.on = must(syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE))
		p.idle = must(syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE))
		p.interval = must(syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL))
		p.count = must(syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT))
		p.giveUp = must(syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) / 1000
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKeepAlive(t *testing.T) {
	tests := []struct {
		name  string
		every time.Duration
		want  probing
	}{
		{"default", 0, probing{1, 15, 15, 3, 60}},
		{"configured", 40 * time.Second, probing{1, 40, 40, 3, 160}},
		{"off", -1, probing{on: 0}},
	}
	check := func(t *testing.T, what string, c net.Conn, want probing) {
		got := probingOf(t, c)
		if want.on == 0 {
			got = probing{on: got.on, giveUp: got.giveUp} // the rest is the system's
		}
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	for _, test := range tests {
		cfg := Config{Limits: Limits{KeepAlive: test.every}}
		for kind, listen := range map[string]func(name string) Network{
			"TLS":   func(string) Network { return listenTLS(t, cfg) },
			"plain": func(name string) Network { return listenPlain(t, name, cfg) },
		} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				dialed, accepted := connect(t, listen("alice"), listen("bob"))
				check(t, "dialed", dialed.(*streamConn).stream.(net.Conn), test.want)
				check(t, "accepted", accepted.(*streamConn).stream.(net.Conn), test.want)
			})
		}
		t.Run(test.name+"/two-party", func(t *testing.T) {
			l := must(net.Listen("tcp", "127.0.0.1:0"))
			defer l.Close()
			there := must(net.Dial("tcp", l.Addr().String()))
			defer there.Close()
			here := must(l.Accept())
			c := TwoParty(here, cfg)
			defer c.Close()
			check(t, "accepted", here, test.want)
		})
	}
}
