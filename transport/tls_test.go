package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
)

// strangerConfig is a TLS configuration that a vat accepts; tests spoil one thing of it.
func strangerConfig(id *Identity) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true,
		NextProtos:         []string{ALPN},
		Certificates:       []tls.Certificate{id.cert},
	}
}

// certificate is one for key, signed by signer.
func certificate(key any, public any, parent *x509.Certificate, signer any) (tls.Certificate, *x509.Certificate) {
	template := &x509.Certificate{SerialNumber: big.NewInt(2), IsCA: true, BasicConstraintsValid: true}
	if parent == nil {
		parent = template
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, public, signer))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, must(x509.ParseCertificate(der))
}

// spoilt are TLS configurations that prove no VatID, by what is wrong with them.
func spoilt() map[string]func(*tls.Config) {
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	caPublic, caKey, _ := ed25519.GenerateKey(rand.Reader)
	public, key, _ := ed25519.GenerateKey(rand.Reader)
	ecCert, _ := certificate(ecKey, &ecKey.PublicKey, nil, ecKey)
	_, ca := certificate(caKey, caPublic, nil, caKey)
	issued, _ := certificate(key, public, ca, caKey)
	own, _ := certificate(key, public, nil, key)
	chain := tls.Certificate{Certificate: [][]byte{own.Certificate[0], ca.Raw}, PrivateKey: key}
	// A certificate of one vat with the key of another: possession is what the handshake proves.
	thief := tls.Certificate{Certificate: must(NewIdentity()).cert.Certificate, PrivateKey: key}

	return map[string]func(*tls.Config){
		"no certificate":             func(c *tls.Config) { c.Certificates = nil },
		"a key of another kind":      func(c *tls.Config) { c.Certificates = []tls.Certificate{ecCert} },
		"not signed by itself":       func(c *tls.Config) { c.Certificates = []tls.Certificate{issued} },
		"a chain":                    func(c *tls.Config) { c.Certificates = []tls.Certificate{chain} },
		"someone else's certificate": func(c *tls.Config) { c.Certificates = []tls.Certificate{thief} },
		"another protocol":           func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		"no protocol":                func(c *tls.Config) { c.NextProtos = nil },
		"TLS 1.2":                    func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
	}
}

func TestTLSRefusesClients(t *testing.T) {
	for name, spoil := range spoilt() {
		t.Run(name, func(t *testing.T) {
			bob := listenTLS(t, Config{})
			id := newIdentityT(t)
			cfg := strangerConfig(id)
			spoil(cfg)
			conn, err := tls.Dial("tcp", strings.TrimPrefix(bob.Addrs()[0], tcpScheme), cfg)
			if err == nil {
				// In TLS 1.3 a client is through before the server has looked at its certificate.
				defer conn.Close()
				_, _ = conn.Write(must(Hello{ID: id.ID()}.frame()))
				if n, err := io.Copy(io.Discard, conn); err == nil || n > 0 {
					t.Errorf("the client got %d bytes, %v; want none and an alert", n, err)
				}
			}
			// It never came as far as Accept: the next to come is the good one.
			alice := listenTLS(t, Config{})
			if _, b := connect(t, alice, bob); b.Peer().ID != alice.LocalID() {
				t.Errorf("accepted %s", b.Peer().ID)
			}
		})
	}
}

func TestTLSRefusesServers(t *testing.T) {
	for name, spoil := range spoilt() {
		t.Run(name, func(t *testing.T) {
			id := newIdentityT(t)
			cfg := strangerConfig(id)
			cfg.ClientAuth = tls.RequireAnyClientCert
			spoil(cfg)
			addr, served := serveTLS(t, cfg, id)
			alice := opened(t, must(ListenTLS("", newIdentityT(t), Config{})), nil)
			conn, err := alice.Dial(context.Background(), id.ID(), []string{addr})
			if err == nil {
				conn.Close()
				t.Error("Dial succeeded")
			}
			<-served
		})
	}
}

// serveTLS lets one client in with cfg, and greets it as id. served is closed when it is through.
func serveTLS(t *testing.T, cfg *tls.Config, id *Identity) (addr string, served <-chan struct{}) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer ln.Close()
		tcp, err := ln.Accept()
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		defer tcp.Close()
		conn := tls.Server(tcp, cfg)
		if conn.Handshake() == nil {
			_, _ = conn.Write(must(Hello{ID: id.ID()}.frame()))
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	return tcpScheme + ln.Addr().String(), done
}

// A dialer that reaches a vat that it did not mean says nothing of itself.
func TestTLSWrongVatLearnsNothing(t *testing.T) {
	mallory := newIdentityT(t)
	cfg := strangerConfig(mallory)
	cfg.ClientAuth = tls.RequestClientCert
	learnt := make(chan int, 1)
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		learnt <- len(s.PeerCertificates)
		return nil
	}
	addr, served := serveTLS(t, cfg, mallory)
	alice := opened(t, must(ListenTLS("", newIdentityT(t), Config{})), nil)
	bob := newIdentityT(t).ID()
	_, err := alice.Dial(context.Background(), bob, []string{addr})
	var wrong *WrongVatError
	if !errors.As(err, &wrong) || *wrong != (WrongVatError{Want: bob, Got: mallory.ID()}) {
		t.Errorf("%v, want *WrongVatError", err)
	}
	<-served
	select {
	case n := <-learnt:
		t.Errorf("mallory got as far as %d certificates", n)
	default:
	}
}

// Who has proven one key cannot say hello as another, or as a plain vat.
func TestTLSHelloMustMatch(t *testing.T) {
	for name, id := range map[string]VatID{"another key": newIdentityT(t).ID(), "a plain name": "plain:alice"} {
		bob := listenTLS(t, Config{})
		cfg := strangerConfig(newIdentityT(t))
		conn, err := tls.Dial("tcp", strings.TrimPrefix(bob.Addrs()[0], tcpScheme), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(must(Hello{ID: id}.frame())); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) // until it hangs up
		conn.Close()
		alice := listenTLS(t, Config{})
		if _, b := connect(t, alice, bob); b.Peer().ID != alice.LocalID() {
			t.Errorf("%s: accepted %s", name, b.Peer().ID)
		}
	}
}

func TestTLSWithoutGoodbye(t *testing.T) {
	alice, bob := listenTLS(t, Config{}), listenTLS(t, Config{})
	a, b := connect(t, alice, bob)
	write(t, a, 1)
	a.(*streamConn).stream.(*tls.Conn).NetConn().(truncationConn).CloseWrite()
	want(t, b, 1)
	if _, err := b.ReadFrame(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want io.ErrUnexpectedEOF: anyone on the way could have cut it", err)
	}
}

func TestTLSIsNotForPlainVats(t *testing.T) {
	alice := listenTLS(t, Config{})
	bob := listenPlain(t, "bob", Config{})
	if _, err := alice.Dial(context.Background(), bob.LocalID(), bob.Addrs()); err == nil {
		t.Error("dialed a plain vat over TLS")
	}
	if _, err := bob.Dial(context.Background(), alice.LocalID(), alice.Addrs()); err == nil {
		t.Error("dialed a vat of TLS without TLS")
	}
}
