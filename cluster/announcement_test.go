package cluster

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
)

func TestAnnouncementRoundTrip(t *testing.T) {
	alice := newPerson("alice")
	for name, a := range map[string]*announcement{
		"two addresses": alice.says("alice", loopback, 7, "tcp!127.0.0.1:4711", "tcp![::1]:4711"),
		"none":          alice.says("alice", netip.MustParseAddrPort("[::1]:1"), 1<<63),
		"plain":         plainSays("plain:alice", "alice", 3),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeAnnouncement(a.name, a.gossip, encoded(t, a))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, a) {
				t.Errorf("got %+v, want %+v", got, a)
			}
			if err := got.verify(); err != nil {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

// TestStatement pins the bytes that other implementations sign.
func TestStatement(t *testing.T) {
	a := &announcement{name: "bob", gossip: loopback, id: "plain:b", addresses: []string{"tcp!h:1"}, seq: 258}
	want := "\x10\x00\x00\x00vatwork/gossip/1" + "\x03\x00\x00\x00bob" + "\x0e\x00\x00\x00127.0.0.1:7946" +
		"\x07\x00\x00\x00plain:b" + "\x02\x01\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00" + "\x07\x00\x00\x00tcp!h:1"
	if got := a.statement(); string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestVerifyCoversEveryField(t *testing.T) {
	alice, mallory := newPerson("alice"), newPerson("mallory")
	for name, change := range map[string]func(*announcement){
		"name":             func(a *announcement) { a.name = "bob" },
		"gossip address":   func(a *announcement) { a.gossip = netip.MustParseAddrPort("127.0.0.1:7947") },
		"id":               func(a *announcement) { a.id = mallory.id },
		"an address":       func(a *announcement) { a.addresses[0] = "tcp!127.0.0.1:6666" },
		"one address less": func(a *announcement) { a.addresses = a.addresses[:1] },
		"addresses joined": func(a *announcement) { a.addresses = []string{strings.Join(a.addresses, "")} },
		"seq":              func(a *announcement) { a.seq++ },
		"signature":        func(a *announcement) { a.signature[0] ^= 1 },
		"no signature":     func(a *announcement) { a.signature = nil },
		"half a signature": func(a *announcement) { a.signature = a.signature[:32] },
		"signed elsewhere": func(a *announcement) { a.signature = mallory.sign(a.statement()) },
		"a plain id":       func(a *announcement) { a.id = "plain:alice" },
	} {
		t.Run(name, func(t *testing.T) {
			a := alice.says("alice", loopback, 7, "tcp!127.0.0.1:4711", "tcp!127.0.0.1:4712")
			if err := a.verify(); err != nil {
				t.Fatalf("unchanged: %v", err)
			}
			change(a)
			if a.verify() == nil {
				t.Error("verifies all the same")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	alice := newPerson("alice")
	many := make([]string, maxAddresses+1)
	for i := range many {
		many[i] = "a!b"
	}
	for name, c := range map[string]struct {
		member string
		at     netip.AddrPort
		meta   []byte
		want   string
	}{
		"nothing":         {"alice", loopback, nil, ""},
		"noise":           {"alice", loopback, bytes.Repeat([]byte{0xff}, 64), ""},
		"an empty struct": {"alice", loopback, append([]byte{4: 1}, make([]byte, 11)...), "a key of 0 bytes"},
		"too long":        {"alice", loopback, make([]byte, maxMetadataBytes+1), "513 bytes"},
		"no name":         {"", loopback, encoded(t, alice.says("", loopback, 1)), "empty"},
		"an odd name":     {"a\nb", loopback, encoded(t, alice.says("a\nb", loopback, 1)), "odd character"},
		"a slash":         {"a/b", loopback, encoded(t, alice.says("a/b", loopback, 1)), "odd character"},
		"a long name":     {strings.Repeat("a", 65), loopback, encoded(t, alice.says("a", loopback, 1)), "65 bytes"},
		"no gossip":       {"alice", netip.AddrPort{}, encoded(t, alice.says("alice", loopback, 1)), "gossip address"},
		"many addresses":  {"alice", loopback, encoded(t, alice.says("alice", loopback, 1, many...)), "17 addresses"},
		"an odd address":  {"alice", loopback, encoded(t, alice.says("alice", loopback, 1, "a! b")), "network!address"},
		"no network":      {"alice", loopback, encoded(t, alice.says("alice", loopback, 1, "127.0.0.1:1")), "network!address"},
		"a long address":  {"alice", loopback, encoded(t, alice.says("alice", loopback, 1, "a!"+strings.Repeat("b", 127))), "129 bytes"},
		"long signature":  {"alice", loopback, encoded(t, &announcement{id: alice.id, signature: make([]byte, 65)}), "65 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := decodeAnnouncement(c.member, c.at, c.meta)
			if err == nil {
				t.Fatalf("accepted as %+v", a)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

// TestDecodeAmplified sends a list that claims more elements than could ever have been sent.
func TestDecodeAmplified(t *testing.T) {
	alice := newPerson("alice")
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	root, err := NewRootAnnouncement(seg)
	if err != nil {
		t.Fatal(err)
	}
	vat, err := root.NewVat()
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.id.Encode(vat); err != nil {
		t.Fatal(err)
	}
	// A list of void takes no room however long it claims to be.
	void := capnp.NewVoidList(seg, 1<<28)
	if err := capnp.Struct(root).SetPtr(1, void.ToPtr()); err != nil {
		t.Fatal(err)
	}
	meta, err := msg.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if a, err := decodeAnnouncement("alice", loopback, meta); err == nil {
		t.Errorf("accepted as %+v", a)
	}
}

func FuzzDecodeAnnouncement(f *testing.F) {
	alice := newPerson("alice")
	f.Add("alice", encoded(f, alice.says("alice", loopback, 7, "tcp!127.0.0.1:4711")))
	f.Add("alice", encoded(f, plainSays("plain:alice", "alice", 1)))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, name string, meta []byte) {
		a, err := decodeAnnouncement(name, loopback, meta)
		if err != nil {
			return
		}
		// What was accepted is well-formed: it can be said again, and is understood as the same.
		meta = encoded(t, a)
		if len(meta) > maxMetadataBytes {
			return // what shared bytes in a hostile message takes more room in an honest one
		}
		again, err := decodeAnnouncement(name, loopback, meta)
		if err != nil {
			t.Fatalf("%+v: %v", a, err)
		}
		if !bytes.Equal(a.statement(), again.statement()) || !bytes.Equal(a.signature, again.signature) {
			t.Fatalf("got %+v, want %+v", again, a)
		}
	})
}
