package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// ALPN is the application protocol that both sides of a TLS connection must name.
const ALPN = "vatwork/1"

// ListenTLS makes the network of the vat id: TLS 1.3 over TCP and Unix sockets, in which both sides prove their
// keys. addr is host:port, where port 0 lets the system choose, or unix:path; with "" the network only dials, and its
// Accept blocks until Close. A Unix socket that a killed process left behind is replaced; who may connect to
// it at all, the mode of its folder decides.
func ListenTLS(addr string, id *Identity, cfg Config) (Network, error) {
	if id == nil {
		return nil, errors.New("transport: ListenTLS needs an identity: see LoadIdentity")
	}
	cfg, err := cfg.withDefaults(timeEpoch())
	if err != nil {
		return nil, err
	}
	anywhere := func(net.Addr) error { return nil }
	n, err := startSockets(addr, cfg.hello(id.ID()), cfg, tlsLayer{id}, anywhere)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// tlsLayer proves VatIDs by TLS: whoever completes a handshake of TLS 1.3 has signed its transcript with
// the key in its certificate.
type tlsLayer struct {
	id *Identity
}

func (l tlsLayer) checkDial(peer VatID, _ place) error {
	if _, ok := peer.PublicKey(); !ok {
		return fmt.Errorf("vat %q has no key, and over TLS only keys count", peer)
	}
	return nil
}

func (l tlsLayer) secure(ctx context.Context, sock socket, want VatID) (stream, VatID, error) {
	var proven VatID
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		MaxVersion:   tls.VersionTLS13,
		NextProtos:   []string{ALPN},
		Certificates: []tls.Certificate{l.id.cert},
		// A resumed session shows no certificate anew.
		SessionTicketsDisabled: true,
		// Runs before a dialer shows its own certificate: who is not the vat that was meant does not
		// learn who asked.
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			if proven, err = provenBy(state); err != nil {
				return err
			}
			if want != "" && proven != want {
				return &WrongVatError{Want: want, Got: proven}
			}
			return nil
		},
	}
	var conn *tls.Conn
	if want != "" {
		// No authority vouches for a vat's certificate: its key is its name, and VerifyConnection
		// compares that.
		cfg.InsecureSkipVerify = true
		conn = tls.Client(truncationConn{sock}, cfg)
	} else {
		cfg.ClientAuth = tls.RequireAnyClientCert
		conn = tls.Server(truncationConn{sock}, cfg)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, "", err
	}
	return conn, proven, nil
}

func (l tlsLayer) sign(message []byte) []byte { return l.id.Sign(message) }

// errTruncated is not io.ErrUnexpectedEOF itself, because crypto/tls makes an io.EOF of that.
var errTruncated = fmt.Errorf("transport: the connection ended without TLS's goodbye: %w", io.ErrUnexpectedEOF)

// truncationConn tells an end that the peer meant, which TLS authenticates, from one that a crash, or anybody
// on the way, made. crypto/tls lets both pass for io.EOF, for the sake of web sites.
type truncationConn struct {
	socket
}

func (c truncationConn) Read(p []byte) (int, error) {
	n, err := c.socket.Read(p)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

// provenBy returns the VatID whose key the peer showed. That it has the private half is proven once the
// handshake is complete. Names and times in the certificate say nothing about a key, and are not looked at.
func provenBy(state tls.ConnectionState) (VatID, error) {
	// A client that names no protocol at all is let through by crypto/tls.
	if state.NegotiatedProtocol != ALPN {
		return "", &HandshakeError{fmt.Sprintf("protocol %q, want %q", state.NegotiatedProtocol, ALPN)}
	}
	if n := len(state.PeerCertificates); n != 1 {
		return "", &HandshakeError{fmt.Sprintf("%d certificates, want one, signed by itself", n)}
	}
	cert := state.PeerCertificates[0]
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return "", &HandshakeError{fmt.Sprintf("a certificate for a %v key, want Ed25519", cert.PublicKeyAlgorithm)}
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return "", &HandshakeError{"the certificate is not signed by its own key: " + err.Error()}
	}
	return KeyVatID(key), nil
}
