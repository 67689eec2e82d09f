package transport

import (
	"bytes"
	"crypto/ed25519"
	"flag"
	"testing"

	"github.com/vatwork/vatwork/internal/wirepage"
)

var updatePage = flag.Bool("update", false, "rewrite the examples of WIRE.md")

// The hello, the signed bytes and the signature of the page are those of the code. (The messages are tested where they
// are made.)
func TestWirePage(t *testing.T) {
	page := func(seed byte) *Identity {
		return must(newIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))))
	}
	alice, bob, carol, dave := page(0x0a), page(0x0b), page(0x0c), page(0x0d)
	c := Introduced{Host: carol.ID(), Introducer: bob.ID(), Recipient: alice.ID()}
	for i := range c.Nonce {
		c.Nonce[i] = byte(i)
	}
	const features = FeatureHandoff | FeatureKeptResults | FeatureForwardedContacts
	forwarded := must(c.Forward(dave.ID(), alice.Sign))
	made := map[string][]byte{
		"hello alice":     must(Hello{ID: alice.ID(), Name: "alice", Features: features, Epoch: 1}.frame()),
		"hello plain":     must(Hello{ID: "plain:alice", Features: features, Epoch: 1}.frame()),
		"signed by alice": c.signed(alice.ID(), dave.ID()),
		"signature alice": forwarded.Forwards[0].Signature,
		"public keys":     bytes.Join([][]byte{key(alice), key(bob), key(carol), key(dave)}, nil),
		"signed plain":    Introduced{Host: "plain:c", Introducer: "plain:b", Nonce: c.Nonce}.signed("plain:a", "plain:d"),
	}
	if err := wirepage.Compare("WIRE.md", made, *updatePage); err != nil {
		t.Error(err)
	}
	// What a peer would do with it.
	if !ed25519.Verify(key(alice), made["signed by alice"], made["signature alice"]) {
		t.Error("the signature of the page is not good")
	}
}

func key(id *Identity) ed25519.PublicKey {
	k, _ := id.ID().PublicKey()
	return k
}
