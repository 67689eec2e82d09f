package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// eachNetwork runs test with two vats of every kind of network.
func eachNetwork(t *testing.T, test func(t *testing.T, alice, bob Network)) {
	cfg := Config{Limits: Limits{MaxMessageBytes: 1 << 20}}
	t.Run("TLS", func(t *testing.T) { test(t, listenTLS(t, cfg), listenTLS(t, cfg)) })
	t.Run("plain", func(t *testing.T) { test(t, listenPlain(t, "alice", cfg), listenPlain(t, "bob", cfg)) })
	t.Run("TLS, Unix", func(t *testing.T) {
		test(t, must(listenTLSAt(t, socketPath(t), cfg)), must(listenTLSAt(t, socketPath(t), cfg)))
	})
	t.Run("plain, Unix", func(t *testing.T) {
		alice, err := ListenPlain(socketPath(t), "alice", cfg)
		bob, err2 := ListenPlain(socketPath(t), "bob", cfg)
		test(t, opened(t, alice, err), opened(t, bob, err2))
	})
	t.Run("memory", func(t *testing.T) {
		m := NewMemory()
		test(t, memVat(t, m, "alice", cfg), memVat(t, m, "bob", cfg))
	})
}

func TestConnBothWays(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, b := connect(t, alice, bob)
		if a.Local() != b.Peer() || b.Local() != a.Peer() {
			t.Errorf("hellos: %+v, %+v; %+v, %+v", a.Local(), b.Peer(), b.Local(), a.Peer())
		}
		if a.Local().ID != alice.LocalID() || a.Peer().ID != bob.LocalID() {
			t.Errorf("a dialed %s as %s, want %s as %s", a.Peer().ID, a.Local().ID, bob.LocalID(), alice.LocalID())
		}
		if got := a.RemoteAddr(); got != bob.Addrs()[0] {
			t.Errorf("RemoteAddr of the dialer = %q, want %q", got, bob.Addrs()[0])
		}
		write(t, a, 1)
		write(t, a, 2, 3)
		write(t, b, 4)
		want(t, b, 1, 2, 3)
		want(t, a, 4)

		// Half closed: one direction ends, the other goes on.
		write(t, a, 5)
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		want(t, b, 5)
		if _, err := b.ReadFrame(); err != io.EOF {
			t.Errorf("after CloseWrite: %v, want io.EOF", err)
		}
		write(t, b, 6)
		want(t, a, 6)
		b.Close()
		if _, err := a.ReadFrame(); err != io.EOF {
			t.Errorf("after Close: %v, want io.EOF", err)
		}
	})
}

func TestConnKeepsNoFrame(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, b := connect(t, alice, bob)
		f := frame(1)
		if err := a.WriteFrames([][]byte{f}); err != nil {
			t.Fatal(err)
		}
		copy(f, frame(2))
		want(t, b, 1)
	})
}

func TestConnLargeFrames(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, b := connect(t, alice, bob)
		sent := make(chan error, 1)
		go func() {
			sent <- a.WriteFrames([][]byte{frame(1), numbered(2, 900<<10), frame(3), numbered(4, 2<<20), frame(5)})
		}()
		want(t, b, 1, 2, 3)
		var bad *FrameError
		if _, err := b.ReadFrame(); !errors.As(err, &bad) {
			t.Fatalf("a frame beyond the limit: %v, want *FrameError", err)
		}
		b.Close()
		<-sent
	})
}

func TestCloseUnblocks(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, _ := connect(t, alice, bob)
		read, written := make(chan error), make(chan error)
		go func() {
			_, err := a.ReadFrame()
			read <- err
		}()
		go func() {
			big := numbered(1, 1<<20)
			for {
				if err := a.WriteFrames([][]byte{big}); err != nil {
					written <- err
					return
				}
				if _, ok := a.(*memConn); ok {
					written <- nil // never blocks
					return
				}
			}
		}()
		if err := a.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadFrame: %v, want net.ErrClosed", err)
		}
		<-written
		first, second := a.Close(), a.Close()
		if first != second {
			t.Errorf("Close gave %v, and then %v", first, second)
		}
	})
}

func TestFeaturesAreShared(t *testing.T) {
	m := NewMemory()
	alice := memVat(t, m, "alice", Config{Features: FeatureHandoff, Name: "Alice", Epoch: 17})
	bob := memVat(t, m, "bob", Config{})
	a, b := connect(t, alice, bob)
	if a.Peer().Features != FeatureHandoff || b.Peer().Features != FeatureHandoff || b.Local().Features != AllFeatures {
		t.Errorf("features: a has %b, b has %b", a.Peer().Features, b.Peer().Features)
	}
	if p := b.Peer(); p.Name != "Alice" || p.Epoch != 17 {
		t.Errorf("b hears %+v", p)
	}
}

func TestWrap(t *testing.T) {
	type wrapped struct{ Conn }
	wrap := func(c Conn) Conn { return wrapped{c} }
	eachKind := map[string]func(t *testing.T, cfg Config) (Network, Network){
		"TLS": func(t *testing.T, cfg Config) (Network, Network) { return listenTLS(t, cfg), listenTLS(t, cfg) },
		"memory": func(t *testing.T, cfg Config) (Network, Network) {
			m := NewMemory()
			return memVat(t, m, "alice", cfg), memVat(t, m, "bob", cfg)
		},
	}
	for name, vats := range eachKind {
		alice, bob := vats(t, Config{Wrap: wrap})
		a, b := connect(t, alice, bob)
		if _, ok := a.(wrapped); !ok {
			t.Errorf("%s: the dialed connection is a bare %T", name, a)
		}
		if _, ok := b.(wrapped); !ok {
			t.Errorf("%s: the accepted connection is a bare %T", name, b)
		}
	}
}

func TestDialErrors(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		ctx := context.Background()
		addr := bob.Addrs()[0]
		stranger := newIdentityT(t).ID()
		if bob.LocalID().IsPlain() {
			stranger = "plain:stranger"
		}
		_, err := alice.Dial(ctx, stranger, []string{"smoke!signals", addr})
		var wrong *WrongVatError
		if !errors.As(err, &wrong) || *wrong != (WrongVatError{Want: stranger, Got: bob.LocalID()}) {
			t.Errorf("another vat: %v, want *WrongVatError", err)
		}
		for _, a := range []string{"smoke!signals", addr} {
			if err == nil || !strings.Contains(err.Error(), a) {
				t.Errorf("the error does not name %s: %v", a, err)
			}
		}
		if _, err := alice.Dial(ctx, bob.LocalID(), nil); err == nil {
			t.Error("no address: no error")
		}
		if _, err := alice.Dial(ctx, alice.LocalID(), alice.Addrs()); err == nil {
			t.Error("dialed itself")
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := alice.Dial(canceled, bob.LocalID(), []string{addr}); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		alice.Close()
		if _, err := alice.Dial(ctx, bob.LocalID(), []string{addr}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v, want net.ErrClosed", err)
		}
	})
}

func TestDialTriesTheNextAddress(t *testing.T) {
	alice, bob, carol := listenTLS(t, Config{}), listenTLS(t, Config{}), listenTLS(t, Config{})
	accepted := make(chan Conn, 1)
	go func() {
		c, err := carol.Accept()
		if err != nil {
			t.Errorf("Accept: %v", err)
		}
		accepted <- c
	}()
	conn, err := alice.Dial(context.Background(), carol.LocalID(), append(bob.Addrs(), carol.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr(); got != carol.Addrs()[0] {
		t.Errorf("connected to %s, want %s", got, carol.Addrs()[0])
	}
	(<-accepted).Close()
}

func TestNetworkClose(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, b := connect(t, alice, bob)
		failed := make(chan error)
		go func() {
			_, err := bob.Accept()
			failed <- err
		}()
		addrs := bob.Addrs()
		if err := bob.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-failed; err != net.ErrClosed {
			t.Errorf("Accept: %v, want net.ErrClosed", err)
		}
		if _, err := bob.Accept(); err != net.ErrClosed {
			t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
		}
		if err := bob.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if c, err := alice.Dial(context.Background(), bob.LocalID(), addrs); err == nil {
			c.Close()
			t.Error("dialed a closed network")
		}
		write(t, a, 1) // what was handed out lives on
		want(t, b, 1)
	})
}

func TestNetworkCloseEndsWhatNobodyAccepted(t *testing.T) {
	eachNetwork(t, func(t *testing.T, alice, bob Network) {
		a, err := alice.Dial(context.Background(), bob.LocalID(), bob.Addrs())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		bob.Close()
		if _, err := a.ReadFrame(); err == nil {
			t.Error("the connection still brings frames")
		}
	})
}

func TestDialOnly(t *testing.T) {
	alice, err := ListenTLS("", newIdentityT(t), Config{})
	opened(t, alice, err)
	if got := alice.Addrs(); got != nil {
		t.Errorf("Addrs = %v, want none", got)
	}
	a, b := connect(t, alice, listenTLS(t, Config{}))
	write(t, b, 1)
	want(t, a, 1)
	failed := make(chan error)
	go func() {
		_, err := alice.Accept()
		failed <- err
	}()
	alice.Close()
	if err := <-failed; err != net.ErrClosed {
		t.Errorf("Accept: %v", err)
	}
}

// silent connects to n and says nothing.
func silent(t *testing.T, n Network) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(n.Addrs()[0], tcpScheme))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSilentPeersLockNobodyOut(t *testing.T) {
	bob := listenTLS(t, Config{Limits: Limits{MaxHandshakes: 2, HandshakeTimeout: time.Second}})
	alice := listenTLS(t, Config{})
	var mute []net.Conn
	for range 2 {
		mute = append(mute, silent(t, bob))
	}
	a, b := connect(t, alice, bob)
	write(t, a, 1)
	want(t, b, 1)
	// Those who stayed silent are hung up on, be it by the newcomer or by the timeout.
	for _, c := range mute {
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("reading what a silent peer gets: %v", err)
		}
	}
}

func TestHalfAHandshakeTimesOut(t *testing.T) {
	limits := Limits{HandshakeTimeout: 50 * time.Millisecond}
	bob := listenPlain(t, "bob", Config{Limits: limits})
	c := silent(t, bob)
	hello := must(helloAlice.frame())
	if _, err := c.Write(hello[:len(hello)-1]); err != nil {
		t.Fatal(err)
	}
	// It sends its own, and hangs up.
	got, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, header(uint32(len(got)/wordBytes-1))) {
		t.Errorf("got % x, want one hello", got)
	}
}

func TestDialerTimesOut(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	alice := opened(t, must(ListenTLS("", newIdentityT(t), Config{Limits: Limits{HandshakeTimeout: 50 * time.Millisecond}})), nil)
	_, err := alice.Dial(context.Background(), newIdentityT(t).ID(), []string{tcpScheme + ln.Addr().String()})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want context.DeadlineExceeded", err)
	}
}

func TestManyDialAtOnce(t *testing.T) {
	bob := listenTLS(t, Config{Limits: Limits{MaxHandshakes: 4}})
	const n = 12
	var wg sync.WaitGroup
	for range n {
		alice := listenTLS(t, Config{})
		wg.Go(func() {
			c, err := alice.Dial(context.Background(), bob.LocalID(), bob.Addrs())
			if err != nil {
				t.Errorf("Dial: %v", err)
				return
			}
			defer c.Close()
			if _, err := c.ReadFrame(); err != nil {
				t.Errorf("ReadFrame: %v", err)
			}
		})
	}
	for range n {
		c, err := bob.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		write(t, c, 1)
	}
	wg.Wait()
}

func TestAddrsOfAllInterfaces(t *testing.T) {
	addrs := advertised(&net.TCPAddr{IP: net.IPv4zero, Port: 4711})
	if len(addrs) == 0 || len(addrs) > maxAddrs {
		t.Fatalf("%d addresses: %v", len(addrs), addrs)
	}
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(strings.TrimPrefix(a, tcpScheme))
		if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() || port != "4711" {
			t.Errorf("%q cannot be dialed", a)
		}
	}
}

func TestConfigChecked(t *testing.T) {
	cfg := Config{Name: "two\nlines"}
	if _, err := ListenTLS("", newIdentityT(t), cfg); err == nil || !strings.Contains(err.Error(), "Config.Name") {
		t.Errorf("TLS: %v", err)
	}
	if _, err := ListenPlain("", "alice", cfg); err == nil {
		t.Error("plain: no error")
	}
	if _, err := NewMemory().Vat("alice", cfg); err == nil {
		t.Error("memory: no error")
	}
	if _, err := ListenTLS("", nil, Config{}); err == nil {
		t.Error("no identity: no error")
	}
}
