package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/rpc"
	rpccp "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/peerapi"
)

func TestUnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	v, _ := newVat(t, "vat", nil)
	serve(t, v, l)
	conn, _ := goDial(t, l.Addr())
	caseOrder(t, goBootstrap(t, conn))
	caller, _ := newVat(t, "caller", nil)
	caseOrder(t, dial(t, caller, l.Addr()))
}

// certificate is one for 127.0.0.1, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "a test"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	v, _ := newVat(t, "vat", nil)
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}})
	serve(t, v, l)

	rw, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	conn, _ := goConn(t, rw)
	caseOrder(t, goBootstrap(t, conn))

	caller, _ := newVat(t, "caller", nil)
	c, err := caller.DialTwoPartyTLS(t.Context(), "tcp", l.Addr().String(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	caseOrder(t, peerapi.Peer(c))

	// Who is not trusted is not talked to; who is not heard does not keep others out.
	if _, err := caller.DialTwoPartyTLS(t.Context(), "tcp", l.Addr().String(), &tls.Config{}); err == nil {
		t.Error("a certificate that nobody vouches for was accepted")
	}
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := note(t.Context(), peerapi.Peer(c), 1); err != nil {
		t.Error(err)
	}
}

// A client that does not get through the handshake gives its place back.
func TestTLSPlacesComeBack(t *testing.T) {
	cert, pool := certificate(t)
	v, _ := newVat(t, "vat", func(c *vat.Config) { c.Limits.TwoParty = 1 })
	l := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}})
	serve(t, v, l)
	rude, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rude.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, rude)
	rude.Close()
	caller, _ := newVat(t, "caller", nil)
	eventually(t, func() string { return "a free place" }, func() bool {
		c, err := caller.DialTwoPartyTLS(t.Context(), "tcp", l.Addr().String(), &tls.Config{RootCAs: pool})
		if err != nil {
			return false
		}
		defer c.Release()
		return note(t.Context(), peerapi.Peer(c), 1) == nil
	})
}

// Beyond the limit a peer is told which one it is; a place is free again when a session has ended.
func TestTooMany(t *testing.T) {
	v, _ := newVat(t, "vat", func(c *vat.Config) { c.Limits.TwoParty = 2 })
	l := listen(t)
	serve(t, v, l)
	one, _ := goDial(t, l.Addr())
	two, _ := goDial(t, l.Addr())
	for _, conn := range []*rpc.Conn{one, two} {
		if err := note(t.Context(), goBootstrap(t, conn), 1); err != nil {
			t.Fatal(err)
		}
	}
	rw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	reason := abortReason(t, rw)
	if !strings.Contains(reason, "Limits.TwoParty") {
		t.Errorf("refused with %q", reason)
	}
	rw.Close()
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return "a free place" }, func() bool {
		rw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn := rpc.NewConn(rpc.NewStreamTransport(rw), nil)
		defer func() {
			_ = conn.Close() // the vat may have closed it
			<-conn.Done()
		}()
		p := peerapi.Peer(conn.Bootstrap(t.Context()))
		defer p.Release()
		return note(t.Context(), p, 1) == nil
	})
}

// A vat that shuts down answers a peer's call that is in flight, and tells those who come later why they are refused.
func TestShutdown(t *testing.T) {
	v, _ := newVat(t, "vat", nil)
	l := listen(t)
	serve(t, v, l)
	conn, _ := goDial(t, l.Addr())
	theirs := goBootstrap(t, conn)
	o, to := local(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, release := theirs.Hang(ctx, giving[peerapi.Peer_hang_Params](to))
	awaitNotes(t, o, 1)
	over := make(chan error, 1)
	go func() { over <- v.Shutdown(t.Context()) }()
	var err error
	eventually(t, func() string { return "calls are refused" }, func() bool {
		err = note(t.Context(), theirs, 1)
		return err != nil
	})
	wantError(t, err, exc.Disconnected, "shutting down")
	rw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	if reason := abortReason(t, rw); !strings.Contains(reason, "shutting down") {
		t.Errorf("refused with %q", reason)
	}
	if c, err := v.DialTwoParty(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("it dials")
		c.Release()
	}
	select {
	case err := <-over:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	cancel()
	release()
	if err := <-over; err != nil {
		t.Error(err)
	}
	<-conn.Done()
}

// abortReason reads an Abort, and the end behind it.
func abortReason(t *testing.T, r io.Reader) string {
	t.Helper()
	decoder := capnp.NewDecoder(r)
	msg, err := decoder.Decode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := rpccp.ReadRootMessage(msg)
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Abort()
	if err != nil {
		t.Fatalf("%v: %v", m.Which(), err)
	}
	reason, err := e.Reason()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decoder.Decode(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the Abort comes %v, want the end", err)
	}
	return reason
}

// ServeTwoParty ends with its listener, and with the vat; sessions outlive the listener.
func TestServeEnds(t *testing.T) {
	v, _ := newVat(t, "vat", nil)
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- v.ServeTwoParty(l) }()
	conn, _ := goDial(t, l.Addr())
	p := goBootstrap(t, conn)
	if err := note(t.Context(), p, 1); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := note(t.Context(), p, 2); err != nil {
		t.Fatalf("the session did not outlive its listener: %v", err)
	}
	l = listen(t)
	go func() { done <- v.ServeTwoParty(l) }()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener was left open: %v", err)
	}
	<-conn.Done()
	if _, err := v.DialTwoParty(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("a closed vat dials")
	}
}

// brokenListener fails in a way that does not pass.
type brokenListener struct{ net.Listener }

var errBroken = errors.New("broken")

func (brokenListener) Accept() (net.Conn, error) { return nil, errBroken }

func TestServeReportsErrors(t *testing.T) {
	v, _ := newVat(t, "vat", nil)
	if err := v.ServeTwoParty(brokenListener{listen(t)}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestDialErrors(t *testing.T) {
	v, _ := newVat(t, "vat", nil)
	l := listen(t)
	l.Close()
	if _, err := v.DialTwoParty(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("reached nobody")
	}
	if _, err := v.DialTwoParty(t.Context(), "udp", l.Addr().String()); err == nil || !strings.Contains(err.Error(), "udp") {
		t.Errorf("over udp: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.DialTwoParty(ctx, "tcp", l.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// A dialed session ends with the last thing that either side holds of the other.
func TestUnusedSessionEnds(t *testing.T) {
	l := listen(t)
	conns := goServe(t, l)
	v, _ := newVat(t, "vat", nil)
	c, err := v.DialTwoParty(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p, conn := peerapi.Peer(c), <-conns
	ans, release := p.Self(t.Context(), nil)
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	inside, err := res.Inside()
	if err != nil {
		t.Fatal(err)
	}
	r := inside.Peer().AddRef()
	release()
	theirs := peerapi.Peer(conn.Bootstrap(t.Context()))
	if err := note(t.Context(), theirs, 1); err != nil {
		t.Fatal(err)
	}
	p.Release()
	if err := note(t.Context(), r, 1); err != nil {
		t.Fatalf("the session ended with the bootstrap, although more is held: %v", err)
	}
	r.Release()
	if err := note(t.Context(), theirs, 2); err != nil {
		t.Fatalf("the session ended, although they hold something: %v", err)
	}
	theirs.Release()
	select {
	case <-conn.Done():
	case <-time.After(patience):
		t.Fatalf("the session has not ended\n%s", v.Tree())
	}
}

// A call of theirs and a call of ours are under way when either side goes.
func TestDisconnect(t *testing.T) {
	for _, who := range []string{"they go", "we go"} {
		t.Run(who, func(t *testing.T) {
			l := listen(t)
			conns := goServe(t, l)
			v, _ := newVat(t, "vat", nil)
			ours := dial(t, v, l.Addr())
			conn := <-conns
			theirs := goBootstrap(t, conn)
			a, toA := local(t)
			b, toB := local(t)
			there, release := ours.Hang(t.Context(), giving[peerapi.Peer_hang_Params](toA))
			defer release()
			back, release := theirs.Hang(t.Context(), giving[peerapi.Peer_hang_Params](toB))
			defer release()
			awaitNotes(t, a, 1)
			awaitNotes(t, b, 1)
			settled(t, ours)
			settled(t, theirs)
			if who == "they go" {
				_ = conn.Close() // it says that it could not say goodbye
			} else if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			_, err := there.Struct()
			wantError(t, err, exc.Disconnected, "")
			if _, err := back.Struct(); err == nil {
				t.Error("a call of theirs has results")
			}
			wantError(t, note(t.Context(), ours, 1), exc.Disconnected, "")
		})
	}
}
