package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
)

func TestPlainKeepsToLoopback(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1"} {
		if n, err := ListenPlain(addr, "alice", Config{}); err == nil {
			n.Close()
			t.Errorf("listens on %q", addr)
		}
	}
	alice := opened(t, must(ListenPlain("", "alice", Config{})), nil)
	for _, addr := range []string{"tcp!192.0.2.1:4711", "tcp!example.com:4711", "tcp!:4711"} {
		if _, err := alice.Dial(context.Background(), "plain:bob", []string{addr}); !errors.Is(err, errNotLoopback) {
			t.Errorf("dialing %s: %v, want errNotLoopback", addr, err)
		}
	}
	if err := checkLocalAddr(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}); !errors.Is(err, errNotLoopback) {
		t.Errorf("a name that led elsewhere: %v", err)
	}
	if n, err := ListenPlain("localhost:0", "bob", Config{}); err != nil {
		t.Errorf("localhost: %v", err)
	} else {
		n.Close()
	}
}

func TestPlainName(t *testing.T) {
	for _, name := range []string{"", "a b", "a/b"} {
		if _, err := ListenPlain("", name, Config{}); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	// A name that looks like a key is a name all the same.
	key := newIdentityT(t).ID()
	n := opened(t, must(ListenPlain("", string(key)[len(keyPrefix):], Config{})), nil)
	if n.LocalID() == key || !n.LocalID().IsPlain() {
		t.Errorf("LocalID = %s", n.LocalID())
	}
}

// A plain vat that claims a key, and one that claims to be whom it talks to, are hung up on.
func TestPlainBelievesNoKey(t *testing.T) {
	for _, id := range []VatID{newIdentityT(t).ID(), "plain:bob"} {
		bob := listenPlain(t, "bob", Config{})
		c := silent(t, bob)
		if _, err := c.Write(must(Hello{ID: id}.frame())); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		alice := listenPlain(t, "alice", Config{})
		if _, b := connect(t, alice, bob); b.Peer().ID != "plain:alice" {
			t.Errorf("accepted %s", b.Peer().ID)
		}
	}
}
