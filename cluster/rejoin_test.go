package cluster

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// TestRejoin: a member that came back where it was, and knows nobody, is found again long after the gossip has given
// it up.
func TestRejoin(t *testing.T) {
	alice, bob, carol := three(t, func(c *Config) { c.Timing.DeadTime = time.Nanosecond })
	at := bob.GossipAddr()
	bob.close()
	alice.sees("failed " + string(bob.id))
	carol.sees("failed " + string(bob.id))
	cfg := configOf("bob")
	cfg.Bind, cfg.Timing.DeadTime = at, time.Nanosecond
	again := start(t, cfg)
	again.waits(alice.id, carol.id)
	alice.sees("join " + string(bob.id))
	carol.sees("join " + string(bob.id))
}

// TestKeepTrying: a node whose seed does not answer starts alone, and joins when the seed is there.
func TestKeepTrying(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // holds a port
	if err != nil {
		t.Fatal(err)
	}
	cfg := configOf("alice")
	cfg.Join, cfg.KeepTrying, cfg.Timing.StreamTimeout = []string{l.Addr().String()}, true, 100*time.Millisecond
	alice := start(t, cfg)
	l.Close()
	seed := configOf("bob")
	seed.Bind = cfg.Join[0]
	bob := start(t, seed)
	alice.waits(bob.id)
	bob.waits(alice.id)
}

// A seed that takes a connection and stays silent holds up neither a Start whose context ends, nor Close.
func TestHangUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := configOf("alice")
	cfg.Join, cfg.KeepTrying, cfg.Timing.StreamTimeout = []string{l.Addr().String()}, true, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	seed := func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	go func() {
		seed()
		cancel()
	}()
	if _, err := Start(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("start: %v", err)
	}
	l.Close()
	alice := start(t, cfg) // it is refused, and goes on
	if l, err = net.Listen("tcp", cfg.Join[0]); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seed()
	alice.close()
}

// TestAskWhoIsAtTheDoor: a member whose news has not come is admitted all the same.
func TestAskWhoIsAtTheDoor(t *testing.T) {
	mute := func(name string, join ...string) *witness {
		cfg := configOf(name)
		cfg.Join = join
		cfg.Timing.GossipInterval, cfg.Timing.PushPullInterval = time.Hour, time.Hour
		cfg.Timing.ProbeInterval = time.Hour // which carries news too
		return start(t, cfg)
	}
	alice := mute("alice")
	bob := mute("bob", alice.GossipAddr())
	carol := mute("carol", bob.GossipAddr())
	door := NewAdmission()
	door.follow(alice.Node)
	if alice.Addresses(carol.id) != nil {
		t.Error("the news came")
	}
	if err := door.Admit(t.Context(), carol.id); err != nil {
		t.Error(err)
	}
}
