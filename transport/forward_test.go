package transport

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
)

// vatKeys are identities that are the same in each run.
func vatKeys(t *testing.T, names ...string) []*Identity {
	t.Helper()
	ids := make([]*Identity, len(names))
	for i, name := range names {
		ids[i] = seeded(t, name)
	}
	return ids
}

func seeded(t *testing.T, name string) *Identity {
	t.Helper()
	id, err := newIdentity(keyFrom(name))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// forwarded is an introduction of carol's by bob to alice, who forwards it to dave, and he to erin.
func forwarded(t *testing.T) (c Introduced, ids []*Identity) {
	t.Helper()
	ids = vatKeys(t, "carol", "bob", "alice", "dave", "erin")
	c = Introduced{Host: ids[0].ID(), Introducer: ids[1].ID(), Nonce: [16]byte{1, 2, 3}, Recipient: ids[2].ID()}
	for i := range 2 {
		var err error
		if c, err = c.Forward(ids[i+3].ID(), ids[i+2].Sign); err != nil {
			t.Fatal(err)
		}
	}
	return c, ids
}

func TestForwards(t *testing.T) {
	c, ids := forwarded(t)
	if err := c.Verify(); err != nil || c.Holder() != ids[4].ID() {
		t.Errorf("held by %s, %v", c.Holder(), err)
	}
	// As each of them had it.
	for i, holder := range ids[2:] {
		short := c.Cut(holder.ID())
		if err := short.Verify(); err != nil || short.Holder() != holder.ID() || len(short.Forwards) != i {
			t.Errorf("cut for %s: %d forwards, held by %s, %v", holder.ID().Short(), len(short.Forwards), short.Holder(), err)
		}
	}
	if same := c.Cut(ids[0].ID()); len(same.Forwards) != 2 {
		t.Errorf("cut for one who never had it: %d forwards", len(same.Forwards))
	}
	// What one passes on to two does not get mixed up.
	first, err := c.Forward(ids[0].ID(), ids[4].Sign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Forward(ids[1].ID(), ids[4].Sign); err != nil || first.Holder() != ids[0].ID() {
		t.Errorf("forwarded to two: the first is held by %s, %v", first.Holder(), err)
	}
}

func TestForgedForwards(t *testing.T) {
	other := seeded(t, "mallory")
	for name, forge := range map[string]func(*Introduced, []*Identity){
		"another host":       func(c *Introduced, _ []*Identity) { c.Host = other.ID() },
		"another introducer": func(c *Introduced, _ []*Identity) { c.Introducer = other.ID() },
		"another nonce":      func(c *Introduced, _ []*Identity) { c.Nonce[15]++ },
		"another recipient":  func(c *Introduced, _ []*Identity) { c.Recipient = other.ID() },
		"to another":         func(c *Introduced, _ []*Identity) { c.Forwards[1].To = other.ID() },
		"by way of another":  func(c *Introduced, _ []*Identity) { c.Forwards[0].To = other.ID() },
		"the middle cut out": func(c *Introduced, _ []*Identity) { c.Forwards = c.Forwards[1:] },
		"in the wrong order": func(c *Introduced, _ []*Identity) { c.Forwards[0], c.Forwards[1] = c.Forwards[1], c.Forwards[0] },
		"no signature":       func(c *Introduced, _ []*Identity) { c.Forwards[1].Signature = nil },
		"one bit of it":      func(c *Introduced, _ []*Identity) { c.Forwards[0].Signature[7] ^= 1 },
		"a signature of another": func(c *Introduced, ids []*Identity) {
			c.Forwards[1].Signature = other.Sign(c.signed(ids[3].ID(), ids[4].ID()))
		},
		"a signature of another purpose": func(c *Introduced, ids []*Identity) {
			c.Forwards[1].Signature = ids[3].Sign(c.signed(ids[3].ID(), ids[4].ID())[1:])
		},
		"passed on by a plain vat": func(c *Introduced, _ []*Identity) {
			c.Recipient, c.Forwards[0].Signature = "plain:alice", nil
		},
		"to a plain vat": func(c *Introduced, ids []*Identity) {
			c.Forwards[1] = Hop{"plain:erin", ids[3].Sign(c.signed(ids[3].ID(), "plain:erin"))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, ids := forwarded(t)
			forge(&c, ids)
			if c.Verify() == nil {
				t.Error("it passes for genuine")
			}
		})
	}
}

func TestPlainForwards(t *testing.T) {
	none := func([]byte) []byte { return nil }
	c := Introduced{Host: "plain:carol", Introducer: "plain:bob", Recipient: "plain:alice"}
	c, err := c.Forward("plain:dave", none)
	if err != nil || c.Verify() != nil || len(c.Forwards[0].Signature) != 0 {
		t.Errorf("plain: %v, %v, signed with %x", err, c.Verify(), c.Forwards[0].Signature)
	}
	c.Forwards[0].Signature = make([]byte, 64)
	if c.Verify() == nil {
		t.Error("a plain vat has signed")
	}
	if _, err := c.Forward(seeded(t, "erin").ID(), none); err == nil {
		t.Error("a plain contact was forwarded to a vat with a key")
	}
	for range MaxForwards {
		c.Forwards[0].Signature = nil
		c, err = c.Forward("plain:dave", none)
	}
	if err == nil {
		t.Errorf("forwarded %d times", len(c.Forwards))
	}
}

func TestForwardsOnTheWire(t *testing.T) {
	c, _ := forwarded(t)
	_, seg, err := capnp.NewMessage(capnp.SingleSegment(nil))
	if err != nil {
		t.Fatal(err)
	}
	done := must(NewRootToComplete(seg))
	if err := c.EncodeForwards(done.NewForwards); err != nil {
		t.Fatal(err)
	}
	hops, err := DecodeForwards(done.Forwards())
	if err != nil || len(hops) != 2 || hops[1].To != c.Forwards[1].To || !bytes.Equal(hops[1].Signature, c.Forwards[1].Signature) {
		t.Errorf("read %v, %v", hops, err)
	}
	bad := must(done.NewForwards(1))
	if err := bad.At(0).SetSignature(make([]byte, 63)); err != nil {
		t.Fatal(err)
	}
	to := must(bad.At(0).NewTo())
	if err := to.SetPlain("dave"); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeForwards(bad, nil); err == nil || !strings.Contains(err.Error(), "63 bytes") {
		t.Errorf("half a signature: %v", err)
	}
	if _, err := DecodeForwards(done.NewForwards(MaxForwards + 1)); err == nil {
		t.Error("a list that is too long was read")
	}
}

// keyFrom is the key of the vat called name, the same each time.
func keyFrom(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}
