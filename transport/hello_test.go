package transport

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
)

var helloAlice = Hello{ID: "plain:alice", Name: "Alice of Ålesund", Features: AllFeatures | 1<<40, Epoch: 7}

func read(frame []byte, local Hello, proven VatID) (Hello, error) {
	return readHello(newFrameReader(bytes.NewReader(frame), helloLimits), local, proven)
}

func TestHelloRoundTrip(t *testing.T) {
	local := Hello{ID: "plain:bob", Features: FeatureHandoff}
	got, err := read(must(helloAlice.frame()), local, "")
	if err != nil {
		t.Fatal(err)
	}
	want := helloAlice
	want.Features = FeatureHandoff // what both have; bits unknown to us are gone
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !AllFeatures.Has(FeatureKeptResults) || got.Features.Has(AllFeatures) {
		t.Errorf("Has is wrong: %b", got.Features)
	}
}

func TestHelloRefused(t *testing.T) {
	key := VatID("ed25519:" + strings.Repeat("0a", 32))
	other := VatID("ed25519:" + strings.Repeat("0b", 32))
	bob := Hello{ID: "plain:bob", Features: AllFeatures}
	altered := func(change func(WireHello)) []byte {
		msg := must(capnp.Unmarshal(must(helloAlice.frame())))
		change(must(ReadRootWireHello(msg)))
		return must(msg.Marshal())
	}
	for name, tc := range map[string]struct {
		frame  []byte
		proven VatID
	}{
		"version":              {altered(func(w WireHello) { w.SetProtocol(2) }), ""},
		"bad id":               {altered(func(w WireHello) { capnp.Struct(must(w.Vat())).SetUint16(0, 9) }), ""},
		"no root struct":       {append(header(1), make([]byte, 8)...), ""},
		"long name":            {must(Hello{ID: "plain:alice", Name: strings.Repeat("x", 65)}.frame()), ""},
		"line break in name":   {must(Hello{ID: "plain:alice", Name: "a\nb"}.frame()), ""},
		"name is not UTF-8":    {must(Hello{ID: "plain:alice", Name: "\xff"}.frame()), ""},
		"key without TLS":      {must(Hello{ID: key}.frame()), ""},
		"plain over TLS":       {must(helloAlice.frame()), key},
		"other key over TLS":   {must(Hello{ID: other}.frame()), key},
		"who it talks to":      {must(Hello{ID: "plain:bob"}.frame()), ""},
		"pointer out of range": {append(header(1), 0, 0, 0, 0x40, 1, 0, 5, 0), ""},
	} {
		var bad *HelloError
		if got, err := read(tc.frame, bob, tc.proven); !errors.As(err, &bad) {
			t.Errorf("%s: %+v, %v; want *HelloError", name, got, err)
		}
	}

	var bad *FrameError
	if _, err := read(numbered(1, helloLimits.MaxMessageBytes), bob, ""); !errors.As(err, &bad) {
		t.Errorf("a large hello: %v, want *FrameError", err)
	}
	if _, err := read(nil, bob, ""); err == nil {
		t.Error("no hello at all: no error")
	}
}

func FuzzHello(f *testing.F) {
	f.Add(must(helloAlice.frame()), false)
	f.Add(must(Hello{ID: VatID("ed25519:" + strings.Repeat("0a", 32))}.frame()), true)
	f.Add(append(header(1), make([]byte, 8)...), false)
	proven := VatID("ed25519:" + strings.Repeat("0a", 32))
	local := Hello{ID: "plain:bob", Features: AllFeatures}
	f.Fuzz(func(t *testing.T, b []byte, tls bool) {
		vouched := VatID("")
		if tls {
			vouched = proven
		}
		peer, err := read(b, local, vouched)
		if err != nil {
			return
		}
		if tls && peer.ID != proven || !tls && !peer.ID.IsPlain() || peer.ID == local.ID {
			t.Fatalf("believed %q", peer.ID)
		}
		if _, err := ParseVatID(string(peer.ID)); err != nil {
			t.Fatal(err)
		}
		if !AllFeatures.Has(peer.Features) || checkName(peer.Name) != nil {
			t.Fatalf("let through %+v", peer)
		}
		// What was read says the same when written again.
		again, err := read(must(peer.frame()), local, vouched)
		if err != nil || again != peer {
			t.Fatalf("%+v became %+v, %v", peer, again, err)
		}
	})
}
