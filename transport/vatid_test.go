package transport

import (
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
)

func newVatId() VatId {
	_, seg := capnp.NewSingleSegmentMessage(nil)
	return must(NewRootVatId(seg))
}

func TestVatIDRoundTrip(t *testing.T) {
	key := strings.Repeat("0a", 32)
	for _, text := range []string{"ed25519:" + key, "plain:alice", "plain:" + key, "plain:ed25519:" + key[:50], "plain:" + strings.Repeat("x", 64)} {
		id, err := ParseVatID(text)
		if err != nil {
			t.Errorf("ParseVatID(%q): %v", text, err)
			continue
		}
		wire := newVatId()
		if err := id.Encode(wire); err != nil {
			t.Errorf("Encode(%q): %v", text, err)
		}
		if got, err := DecodeVatID(wire); err != nil || got != id {
			t.Errorf("DecodeVatID = %q, %v; want %q", got, err, id)
		}
		if _, isKey := id.PublicKey(); isKey == id.IsPlain() {
			t.Errorf("%q: PublicKey says %v, IsPlain %v", text, isKey, id.IsPlain())
		}
	}
}

func TestVatIDRefused(t *testing.T) {
	key := strings.Repeat("0a", 32)
	for _, text := range []string{
		"", "alice", key, "ed25519:", "ed25519:" + key[2:], "ed25519:" + key + "00", "ed25519:" + strings.ToUpper(key),
		"ed25519:" + strings.Repeat("zz", 32), "ED25519:" + key, "plain:", "plain:a b", "plain:a\nb", "plain:a/b", "plain:\x7f",
		"plain:zo\u00eb", "plain:" + strings.Repeat("x", 65),
	} {
		if id, err := ParseVatID(text); err == nil {
			t.Errorf("ParseVatID(%q) = %q, want an error", text, id)
		}
		if err := VatID(text).Encode(newVatId()); err == nil {
			t.Errorf("Encode(%q) succeeded", text)
		}
	}
}

func TestDecodeVatIDRefused(t *testing.T) {
	for name, fill := range map[string]func(VatId) error{
		"nothing":   func(VatId) error { return nil },
		"short key": func(v VatId) error { return v.SetEd25519(make([]byte, 31)) },
		"long key":  func(v VatId) error { return v.SetEd25519(make([]byte, 33)) },
		"no name":   func(v VatId) error { return v.SetPlain("") },
		"odd name":  func(v VatId) error { return v.SetPlain("a\x00b") },
		"unknown kind": func(v VatId) error {
			capnp.Struct(v).SetUint16(0, 7)
			return nil
		},
	} {
		wire := newVatId()
		if err := fill(wire); err != nil {
			t.Fatal(err)
		}
		if id, err := DecodeVatID(wire); err == nil {
			t.Errorf("%s: got %q, want an error", name, id)
		}
	}
}

func TestVatIDShort(t *testing.T) {
	for id, want := range map[VatID]string{
		VatID("ed25519:0123456789" + strings.Repeat("0", 54)): "01234567",
		"plain:alice": "alice",
		"ed25519:01":  "01",
	} {
		if got := id.Short(); got != want {
			t.Errorf("%q.Short() = %q, want %q", id, got, want)
		}
	}
}
