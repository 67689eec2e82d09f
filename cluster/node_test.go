package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// patience is how long a test waits for what must come; it fails then, and is never waited out else.
const patience = 30 * time.Second

// witness is a node, and what its callbacks said, in order.
type witness struct {
	*Node
	t   *testing.T
	saw chan string
}

// start starts a node that is closed with the test.
func start(t *testing.T, cfg Config) *witness {
	t.Helper()
	w := &witness{t: t, saw: make(chan string, 100)}
	cfg.OnJoin = func(id transport.VatID) { w.saw <- "join " + string(id) }
	cfg.OnLeave = func(id transport.VatID) { w.saw <- "leave " + string(id) }
	cfg.OnFailed = func(id transport.VatID, reason string) {
		if reason == "" {
			t.Errorf("%s failed for no reason", id)
		}
		w.saw <- "failed " + string(id)
	}
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Node = n
	t.Cleanup(w.close)
	return w
}

func (w *witness) close() {
	if err := w.Close(); err != nil {
		w.t.Error(err)
	}
}

// sees expects the next callbacks.
func (w *witness) sees(want ...string) {
	w.t.Helper()
	for _, one := range want {
		select {
		case got := <-w.saw:
			if got != one {
				w.t.Fatalf("%s: got %q, want %q", w.name, got, one)
			}
		case <-time.After(patience):
			w.t.Fatalf("%s: no %q", w.name, one)
		}
	}
}

// waits waits until the directory has all of ids.
func (w *witness) waits(ids ...transport.VatID) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.WaitFor(ctx, ids...); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for the directory to change into one that pleases.
func (w *witness) until(what string, pleases func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.RLock()
		changed := w.changed
		w.mu.RUnlock()
		if pleases() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("%s: never %s; members %+v", w.name, what, w.Members())
		}
	}
}

// three starts alice, bob and carol, who know each other; what they saw of that is consumed.
func three(t *testing.T, change func(*Config)) (alice, bob, carol *witness) {
	t.Helper()
	var all []*witness
	var ids []transport.VatID
	for i, name := range []string{"alice", "bob", "carol"} {
		cfg := configOf(name)
		cfg.Addresses = []string{fmt.Sprintf("tcp!127.0.0.1:%d", 4711+i)}
		if change != nil {
			change(&cfg)
		}
		if i > 0 {
			cfg.Join = []string{all[0].GossipAddr()}
		}
		all, ids = append(all, start(t, cfg)), append(ids, cfg.ID)
	}
	for i, w := range all {
		w.waits(ids...)
		got := []string{<-w.saw, <-w.saw}
		want := []string{"join " + string(ids[(i+1)%3]), "join " + string(ids[(i+2)%3])}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s: got %q, want %q", w.name, got, want)
		}
	}
	return all[0], all[1], all[2]
}

func TestThreeFindEachOther(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"keys":      nil,
		"encrypted": func(c *Config) { c.Keys = [][]byte{[]byte("0123456789abcdef")} },
		"plain":     func(c *Config) { c.ID, c.Sign = transport.VatID("plain:"+c.Name), nil },
		"ipv6":      func(c *Config) { c.Bind = "[::1]:0" },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "ipv6" {
				if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
					t.Skip("no IPv6 loopback:", err)
				} else {
					l.Close()
				}
			}
			alice, bob, carol := three(t, change)
			for _, w := range []*witness{alice, bob, carol} {
				for i, of := range []*witness{alice, bob, carol} {
					want := []string{fmt.Sprintf("tcp!127.0.0.1:%d", 4711+i)}
					if got := w.Addresses(of.id); !slices.Equal(got, want) {
						t.Errorf("%s: %s is at %v, want %v", w.name, of.name, got, want)
					}
					if id, ok := w.Lookup(of.name); !ok || id != of.id {
						t.Errorf("%s: %s is %q", w.name, of.name, id)
					}
				}
				if got := w.Refused(); len(got) != 0 {
					t.Errorf("%s refused %v", w.name, got)
				}
			}
			if _, ok := alice.Lookup("dave"); ok || alice.Addresses("plain:dave") != nil {
				t.Error("found dave")
			}
		})
	}
}

func TestCrashIsAFailure(t *testing.T) {
	alice, bob, carol := three(t, nil)
	bob.close()
	alice.sees("failed " + string(bob.id))
	carol.sees("failed " + string(bob.id))
	if got := alice.Addresses(bob.id); got != nil {
		t.Errorf("bob still is at %v", got)
	}
	// Once: the next thing they see is another.
	if err := carol.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.sees("leave " + string(carol.id))
	states := map[string]State{}
	for _, m := range alice.Members() {
		states[m.Name] = m.State
	}
	if states["alice"] != Alive || states["bob"] != Failed || states["carol"] != Left {
		t.Errorf("got %v", states)
	}
}

func TestLeavingIsNoFailure(t *testing.T) {
	alice, bob, carol := three(t, nil)
	if err := bob.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	bob.close()
	alice.sees("leave " + string(bob.id))
	carol.sees("leave " + string(bob.id))
	if _, ok := alice.Lookup("bob"); ok || alice.Addresses(bob.id) != nil {
		t.Error("bob is still handed out")
	}
	// No failure comes after it: the next thing alice sees is another.
	carol.close()
	alice.sees("failed " + string(carol.id))
	if err := bob.Leave(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("leave after close: %v", err)
	}
	if err := bob.WaitFor(t.Context(), alice.id, "plain:nobody"); !errors.Is(err, ErrClosed) {
		t.Errorf("wait after close: %v", err)
	}
	if err := bob.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestLeaveAlone(t *testing.T) {
	alice := start(t, configOf("alice"))
	if err := alice.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := alice.Addresses(alice.id); got != nil {
		t.Errorf("alice is at %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := alice.Leave(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWaitForSaysWhoIsMissing(t *testing.T) {
	alice := start(t, configOf("alice"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := alice.WaitFor(ctx, alice.id, "plain:bob", "plain:carol")
	if !errors.Is(err, context.Canceled) || err.Error() != "cluster: still missing bob, carol: context canceled" {
		t.Errorf("got %v", err)
	}
}

// TestRestart covers a vat that crashes and is back before, and after, the others have noticed, on the
// gossip port that it had, and on another.
func TestRestart(t *testing.T) {
	for name, c := range map[string]struct{ samePort, noticed bool }{
		"same port, unnoticed":  {true, false},
		"same port, noticed":    {true, true},
		"other port, unnoticed": {false, false},
		"other port, noticed":   {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob, carol := three(t, nil)
			at := bob.GossipAddr()
			if !c.samePort {
				at = "127.0.0.1:0"
			}
			bob.close()
			if c.noticed {
				alice.sees("failed " + string(bob.id))
				carol.sees("failed " + string(bob.id))
			}
			cfg := configOf("bob")
			cfg.Bind, cfg.Join, cfg.Addresses = at, []string{alice.GossipAddr()}, []string{"tcp!127.0.0.1:5000"}
			start(t, cfg)
			for _, w := range []*witness{alice, carol} {
				if !c.noticed {
					w.sees("failed " + string(bob.id))
				}
				w.sees("join " + string(bob.id))
				w.until("bob at his new address", func() bool {
					return slices.Equal(w.Addresses(bob.id), cfg.Addresses)
				})
			}
		})
	}
}

// TestRestartIsKnownAtOnce: a vat that is back at other addresses is found there while the gossip has not even begun to
// miss its former run.
func TestRestartIsKnownAtOnce(t *testing.T) {
	alice, bob, carol := three(t, func(c *Config) { c.Timing.ProbeInterval = time.Hour })
	bob.close()
	cfg := configOf("bob")
	cfg.Join, cfg.Addresses = []string{alice.GossipAddr()}, []string{"tcp!127.0.0.1:5000"}
	start(t, cfg)
	alice.sees("failed "+string(bob.id), "join "+string(bob.id))
	if got := alice.Addresses(bob.id); !slices.Equal(got, cfg.Addresses) {
		t.Errorf("bob is at %v", got)
	}
	carol.sees("failed "+string(bob.id), "join "+string(bob.id))
}

func TestNameIsTaken(t *testing.T) {
	alice := start(t, configOf("alice"))
	cfg := configOf("mallory")
	cfg.Name, cfg.Join = "alice", []string{alice.GossipAddr()}
	_, err := Start(t.Context(), cfg)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Cause != NameTaken {
		t.Errorf("got %v", err)
	}
	if id, _ := alice.Lookup("alice"); id != alice.id {
		t.Errorf("alice is %s", id)
	}
}

func TestJoinNobody(t *testing.T) {
	alice := start(t, configOf("alice"))
	alice.close()
	cfg := configOf("bob")
	cfg.Join = []string{alice.GossipAddr()}
	if n, err := Start(t.Context(), cfg); err == nil {
		t.Error("joined nobody", n.Close())
	}
	// One that answers is enough.
	carol := start(t, configOf("carol"))
	cfg.Join = append(cfg.Join, carol.GossipAddr())
	start(t, cfg).waits(carol.id)
}

// TestBlockedCallback: one that blocks holds up neither the directory nor, long, the others.
func TestBlockedCallback(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	cfg := configOf("alice")
	cfg.OnJoin = func(transport.VatID) {
		entered <- struct{}{}
		<-release
	}
	alice, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bob", "carol"} {
		other := configOf(name)
		other.Join = []string{alice.GossipAddr()}
		start(t, other)
	}
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := alice.WaitFor(ctx, newPerson("bob").id, newPerson("carol").id); err != nil {
		t.Error(err)
	}
	close(release)
	<-entered
	if err := alice.Close(); err != nil {
		t.Error(err)
	}
}

// TestPortsAreClosed: the gossip port can be had again, for both protocols.
func TestPortsAreClosed(t *testing.T) {
	alice := start(t, configOf("alice"))
	alice.close()
	cfg := configOf("bob")
	cfg.Bind = alice.GossipAddr()
	if got := start(t, cfg).GossipAddr(); got != alice.GossipAddr() {
		t.Errorf("got %s", got)
	}
}

// A Node is what a vat takes for its directory.
var _ interface {
	Addresses(id transport.VatID) []string
} = (*Node)(nil)

// TestIdentity: the identity of a vat's transport signs for its node.
func TestIdentity(t *testing.T) {
	identity, err := transport.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	alice, cfg := start(t, configOf("alice")), configOf("bob")
	cfg.ID, cfg.Sign, cfg.Join = identity.ID(), identity.Sign, []string{alice.GossipAddr()}
	start(t, cfg)
	alice.sees("join " + string(identity.ID()))
}
