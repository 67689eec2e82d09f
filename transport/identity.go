package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// An Identity is a vat's Ed25519 key pair. It never changes, and may be used from any goroutine.
type Identity struct {
	key  ed25519.PrivateKey
	id   VatID
	cert tls.Certificate
}

// NewIdentity makes an identity that lasts as long as the process; for one that lasts, see LoadIdentity.
func NewIdentity() (*Identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("transport: making a key: %w", err)
	}
	return newIdentity(key)
}

func newIdentity(key ed25519.PrivateKey) (*Identity, error) {
	cert, err := selfSigned(key)
	if err != nil {
		return nil, fmt.Errorf("transport: making a certificate: %w", err)
	}
	return &Identity{key: key, id: KeyVatID(key.Public().(ed25519.PublicKey)), cert: cert}, nil
}

// ID is the public half.
func (i *Identity) ID() VatID { return i.id }

// Sign signs message as this vat. To keep a signature made for one purpose from serving another, a message
// must open with a label of its purpose; TLS, for which the same key signs, does so with 64 spaces.
func (i *Identity) Sign(message []byte) []byte {
	return ed25519.Sign(i.key, message)
}

// selfSigned wraps the key for TLS. Nothing in the certificate counts but the key, so it says the same
// each time: peers that log certificates see one a vat.
func selfSigned(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "vatwork"},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no end
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
