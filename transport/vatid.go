package transport

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strings"
)

// MaxNameBytes is the longest name a vat may have, plain or for people.
const MaxNameBytes = 64

const (
	keyPrefix   = "ed25519:"
	plainPrefix = "plain:"
)

// A VatID says who a vat is: "ed25519:" and the 64 lower-case hex digits of its public key, or "plain:"
// and a name. There is one spelling for each identity, so VatIDs are compared with ==. The two kinds
// are separate name spaces: no plain name ever equals a key.
//
// The zero VatID is nobody. A VatID out of this package is well-formed; one out of a configuration
// should have come through [ParseVatID].
type VatID string

// ParseVatID reads the text form. It accepts the canonical spelling only: were upper-case digits let
// through, one vat would have two ids.
func ParseVatID(s string) (VatID, error) {
	if digits, ok := strings.CutPrefix(s, keyPrefix); ok {
		key, err := hex.DecodeString(digits)
		if err != nil || len(key) != ed25519.PublicKeySize || strings.ToLower(digits) != digits {
			return "", fmt.Errorf("transport: vat id %.100q: want 64 lower-case hex digits after %q", s, keyPrefix)
		}
		return VatID(s), nil
	}
	if name, ok := strings.CutPrefix(s, plainPrefix); ok {
		if err := checkPlainName(name); err != nil {
			return "", err
		}
		return VatID(s), nil
	}
	return "", fmt.Errorf("transport: vat id %.100q: want %q or %q in front", s, keyPrefix, plainPrefix)
}

// KeyVatID returns the id of the vat that holds the private half of key.
func KeyVatID(key ed25519.PublicKey) VatID {
	return VatID(keyPrefix + hex.EncodeToString(key))
}

// PublicKey returns the key that id stands for, and false for a plain or malformed id. The caller owns it.
func (id VatID) PublicKey() (ed25519.PublicKey, bool) {
	digits, ok := strings.CutPrefix(string(id), keyPrefix)
	if !ok {
		return nil, false
	}
	key, err := hex.DecodeString(digits)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, false
	}
	return key, true
}

// IsPlain reports whether id belongs to the name space of plain mode, where nothing is proven.
func (id VatID) IsPlain() bool {
	return strings.HasPrefix(string(id), plainPrefix)
}

// Short is for logs: the first 8 digits of the key, or the plain name. It identifies nobody.
func (id VatID) Short() string {
	if digits, ok := strings.CutPrefix(string(id), keyPrefix); ok {
		return digits[:min(8, len(digits))]
	}
	return strings.TrimPrefix(string(id), plainPrefix)
}

// Encode writes id into the schema's struct. It fails where id is malformed, or the message has no room.
func (id VatID) Encode(dst VatId) error {
	if _, err := ParseVatID(string(id)); err != nil {
		return err
	}
	if key, ok := id.PublicKey(); ok {
		return dst.SetEd25519(key)
	}
	return dst.SetPlain(strings.TrimPrefix(string(id), plainPrefix))
}

// DecodeVatID reads what a peer wrote. Whatever it gets back without an error is well-formed.
func DecodeVatID(src VatId) (VatID, error) {
	switch src.Which() {
	case VatId_Which_ed25519:
		key, err := src.Ed25519()
		if err != nil {
			return "", fmt.Errorf("transport: vat id: %w", err)
		}
		if len(key) != ed25519.PublicKeySize {
			return "", fmt.Errorf("transport: vat id: a key of %d bytes, want %d", len(key), ed25519.PublicKeySize)
		}
		return KeyVatID(key), nil
	case VatId_Which_plain:
		name, err := src.PlainBytes()
		if err != nil {
			return "", fmt.Errorf("transport: vat id: %w", err)
		}
		id := plainPrefix + string(name)
		if err := checkPlainName(id[len(plainPrefix):]); err != nil {
			return "", err
		}
		return VatID(id), nil
	default:
		return "", fmt.Errorf("transport: vat id of an unknown kind, %d", uint16(src.Which()))
	}
}

// checkPlainName keeps plain names to what is safe in a log line, an address and the path of an actor
// alike: visible ASCII without "/".
func checkPlainName(name string) error {
	if name == "" {
		return fmt.Errorf("transport: the name of a plain vat is empty")
	}
	if len(name) > MaxNameBytes {
		return fmt.Errorf("transport: the name of a plain vat has %d bytes, at most %d are allowed", len(name), MaxNameBytes)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '/' {
			return fmt.Errorf("transport: the name of a plain vat, %q, has an odd character at byte %d: want visible ASCII without %q", name, i, "/")
		}
	}
	return nil
}

// appendTo adds id as signatures cover it: a byte for its kind (0: key, 1: plain), one for its length, and the key or
// the name.
func (id VatID) appendTo(b []byte) []byte {
	if key, ok := id.PublicKey(); ok {
		return append(append(b, 0, byte(len(key))), key...)
	}
	name := strings.TrimPrefix(string(id), plainPrefix)
	return append(append(b, 1, byte(len(name))), name...)
}
