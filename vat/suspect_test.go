package vat

import (
	"sync/atomic"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3/exc"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// TestSuspectAlive: false news of a peer's death cut no call.
func TestSuspectAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob")
		bob := c.ready("alice", "bob")
		ans, release := bob.Wait(t.Context(), nil)
		arrives(t, "the call", c.objects["bob"].entered)
		v := c.byName["alice"]
		for range 3 {
			v.Suspect(id("bob"), "declared failed")
			v.Suspect(id("bob"), "declared failed again")
			time.Sleep(2 * v.limits.Probe)
		}
		v.Suspect(id("nobody"), "declared failed")
		if err := noteOn(t.Context(), bob, 1, 1); err != nil {
			t.Error(err)
		}
		c.objects["bob"].let <- struct{}{}
		if _, err := ans.Struct(); err != nil {
			t.Errorf("the call that was under way: %v", err)
		}
		arrives(t, "the end of the object's call", c.objects["bob"].left)
		release()
		if n := v.Exceeded()["Probe"]; n != 0 {
			t.Errorf("%d sessions ended", n)
		}
		c.shut()
	})
}

// TestSuspectDead: a peer that gives no sign of life is given up after Limits.Probe, and what is under way fails with
// the reason.
func TestSuspectDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob")
		bob := c.ready("alice", "bob")
		ans, release := bob.Wait(t.Context(), nil)
		defer release()
		arrives(t, "the call", c.objects["bob"].entered)
		c.link("bob", "alice").Hold()
		v, began := c.byName["alice"], time.Now()
		v.Suspect(id("bob"), "declared failed")
		_, err := ans.Struct()
		wantError(t, err, exc.Disconnected, "declared failed")
		wantError(t, err, exc.Disconnected, "Limits.Probe")
		if took := time.Since(began); took != v.limits.Probe {
			t.Errorf("after %v, want %v", took, v.limits.Probe)
		}
		if n := v.Exceeded()["Probe"]; n != 1 {
			t.Errorf("%d sessions ended, want 1", n)
		}
		c.link("bob", "alice").Free()
		c.shut()
	})
}

// TestSuspectBusy: whatever comes is a sign of life, also where the answer to the probe is behind a long queue.
func TestSuspectBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob")
		c.ready("alice", "bob")
		alice := c.ready("bob", "alice")
		c.link("alice", "bob").Hold() // the question does not even get there
		v := c.byName["alice"]
		v.Suspect(id("bob"), "declared failed")
		_, release := alice.Note(t.Context(), noting(1, 1))
		defer release()
		time.Sleep(2 * v.limits.Probe)
		c.wantSessions("alice", 1)
		v.Suspect(id("bob"), "declared failed")
		time.Sleep(2 * v.limits.Probe)
		c.wantSessions("alice", 0)
		c.link("alice", "bob").Free()
		c.shut()
	})
}

// TestSuspectAgain: a peer that shows itself, and dies before the time for that is over, is found out all the same.
func TestSuspectAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob")
		c.ready("alice", "bob")
		v := c.byName["alice"]
		v.Suspect(id("bob"), "declared failed")
		time.Sleep(v.limits.Probe / 2)
		c.link("bob", "alice").Hold()
		v.Suspect(id("bob"), "declared failed")
		time.Sleep(v.limits.Probe)
		c.wantSessions("alice", 1)
		time.Sleep(v.limits.Probe)
		c.wantSessions("alice", 0)
		c.link("bob", "alice").Free()
		c.shut()
	})
}

// moved is a directory that learns where bob is only when it is asked again.
type moved struct{ asked atomic.Int32 }

func (m *moved) Addresses(transport.VatID) []string {
	if m.asked.Add(1) == 1 {
		return []string{"mem!former"}
	}
	return []string{"mem!bob"}
}

func TestDialLooksAgain(t *testing.T) {
	c := newCluster(t, "bob")
	c.start("alice", func(cfg *Config, _ *transport.Config) { cfg.Directory = &moved{} })
	var p testapi.Probe = c.bootstrap("alice", "bob")
	if err := noteOn(t.Context(), p, 1, 1); err != nil {
		t.Error(err)
	}
}

// TestOlderRun: a connection of an older run of a peer is refused, and says why; but the session of the newer one has to
// show that it lives, for the clock may have been set back between the two.
func TestOlderRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice")
		run := func(epoch uint64) (transport.Network, transport.Conn) {
			n, err := c.memory.Vat("bob", transport.Config{Epoch: epoch})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := n.Dial(t.Context(), id("alice"), c.memory.Addresses(id("alice")))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return n, conn
		}
		first := func(conn transport.Conn) rpc.Message {
			t.Helper()
			msg, err := conn.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			return must(rpc.ReadRootMessage(msg))
		}
		n, newer := run(5)
		c.wantSessions("alice", 1)
		n.Close() // the connection lives on
		n, older := run(3)
		if m := first(older); m.Which() != rpc.Message_Which_abort || !contains(must(must(m.Abort()).Reason()), "epoch 5, not 3") {
			t.Errorf("the older run reads %v", m)
		}
		older.Close()
		if m := first(newer); m.Which() != rpc.Message_Which_bootstrap {
			t.Errorf("the newer run reads %v", m.Which())
		}
		time.Sleep(c.byName["alice"].limits.Probe)
		c.wantSessions("alice", 0) // it has said nothing
		n.Close()
		c.shut()
	})
}
