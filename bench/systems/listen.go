package systems

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// startTime bounds what happens before anything is measured.
func startTime() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// listen listens for the systems that have no identities of their own. What dial needs is in addr: for TLS also
// the certificate, which is made for the occasion.
func listen(t Transport) (l net.Listener, addr string, remove func() error, err error) {
	remove = func() error { return nil }
	switch t {
	case Unix:
		path, remove, err := socketPath()
		if err != nil {
			return nil, "", nil, err
		}
		if l, err = net.Listen("unix", path); err != nil {
			return nil, "", nil, errors.Join(err, remove())
		}
		return l, path, remove, nil
	case TCP, TLS:
	default:
		return nil, "", nil, fmt.Errorf("no transport is called %q", t)
	}
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil || t == TCP {
		return l, addrOf(l), remove, err
	}
	cert, err := newCertificate()
	if err != nil {
		return nil, "", nil, errors.Join(err, l.Close())
	}
	addr = addrOf(l) + "|" + base64.StdEncoding.EncodeToString(cert.Certificate[0])
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: protocols}), addr, remove, nil
}

// protocols: gRPC insists on one.
var protocols = []string{"h2"}

func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

func newCertificate() (tls.Certificate, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
}

// clientTLS splits an address of listen's into where to dial and what to trust there.
func clientTLS(addr string) (string, *tls.Config, error) {
	where, text, _ := strings.Cut(addr, "|")
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return where, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13, NextProtos: protocols}, nil
}

func dial(ctx context.Context, t Transport, addr string) (net.Conn, error) {
	switch t {
	case Unix:
		return new(net.Dialer).DialContext(ctx, "unix", addr)
	case TLS:
		where, cfg, err := clientTLS(addr)
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", where)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}
