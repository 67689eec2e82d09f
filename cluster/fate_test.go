package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/cluster/internal/townapi"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/names"
)

// outcome is how a call ended.
type outcome struct {
	receipt
	err error
}

// hold has the worker of host begin something that takes until the test lets it, and returns what will come of it.
func (n *node) hold(t *testing.T, host *node) <-chan outcome {
	t.Helper()
	done := make(chan outcome, 1)
	go func() {
		got, err := n.with(t.Context(), n.name, host.name+"/worker", func(c capnp.Client) (receipt, error) {
			ans, release := townapi.Worker(c).Hold(t.Context(), nil)
			defer release()
			return read(ans.Receipt().Struct())
		})
		done <- outcome{got, err}
	}()
	eventually(t, "the call is there", func(context.Context) error {
		select {
		case <-host.worker.entered:
			return nil
		default:
			return fmt.Errorf("nothing has entered the worker of %s", host.name)
		}
	})
	return done
}

// ends waits for the end of a call.
func ends(t *testing.T, done <-chan outcome) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case o := <-done:
		return o
	case <-ctx.Done():
		t.Fatal("a call has no answer")
		panic("unreachable")
	}
}

// lost expects a call to have failed for the loss of its host.
func lost(t *testing.T, done <-chan outcome, words ...string) {
	t.Helper()
	o := ends(t, done)
	if o.err == nil || exc.TypeOf(o.err) != exc.Disconnected {
		t.Errorf("got %+v, %v, want disconnected", o.receipt, o.err)
		return
	}
	for _, word := range words {
		if !strings.Contains(o.err.Error(), word) {
			t.Errorf("the error %q does not say %q", o.err, word)
		}
	}
}

// works expects an errand to succeed, in the end.
func (n *node) works(t *testing.T, by, host string, run uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has work done by %s, found at %s", n.name, host, by), func(ctx context.Context) error {
		got, err := n.errand(ctx, by, host+"/worker", 1)
		if err == nil && (got.host != host || got.run != run) {
			return fmt.Errorf("got %+v", got)
		}
		return err
	})
}

// TestLeaveCutsNothing: a node that leaves answers what is in flight.
func TestLeaveCutsNothing(t *testing.T) {
	tn := newTown(t, quick)
	alice, bob, carol := tn.start("alice"), tn.start("bob"), tn.start("carol")
	alice.knows(t, "bob", "carol")
	carol.knows(t, "bob")
	done := alice.hold(t, bob)
	if err := bob.member.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	alice.misses(t, "bob")
	carol.misses(t, "bob")
	shut := make(chan error, 1)
	go func() { shut <- bob.vat.Shutdown(t.Context()) }()
	if _, err := alice.errand(t.Context(), "carol", "bob/worker", 1); err == nil || !strings.Contains(err.Error(), "bob") {
		t.Errorf("an errand to who has left: %v", err)
	}
	close(bob.worker.let)
	if o := ends(t, done); o.err != nil || o.host != "bob" {
		t.Errorf("the call in flight: %+v, %v", o.receipt, o.err)
	}
	if err := <-shut; err != nil {
		t.Error(err)
	}
}

// TestSplitHeals: both halves go on, and are one again afterwards, with each name once.
func TestSplitHeals(t *testing.T) {
	tn := newTown(t, quick)
	all := []string{"alice", "bob", "carol", "dave"}
	nodes := map[string]*node{}
	for _, name := range all {
		nodes[name] = tn.start(name)
	}
	whole := func() {
		t.Helper()
		for _, a := range all {
			nodes[a].knows(t, all...)
			nodes[a].shows(t, 8)
			for _, b := range all {
				nodes[a].works(t, a, b, nodes[b].run)
			}
		}
	}
	whole()
	there, back := nodes["alice"].hold(t, nodes["carol"]), nodes["dave"].hold(t, nodes["bob"])
	tn.lines.split("carol", "dave")
	halves := [][]string{{"alice", "bob"}, {"carol", "dave"}}
	for i, half := range halves {
		for _, a := range half {
			nodes[a].misses(t, halves[1-i]...)
			nodes[a].shows(t, 4)
			for _, b := range half {
				nodes[a].works(t, half[0], b, nodes[b].run)
			}
			other := halves[1-i][0]
			if _, err := nodes[a].errand(t.Context(), half[1], other+"/worker", 1); err == nil || !strings.Contains(err.Error(), other) {
				t.Errorf("an errand of %s to the other half: %v", a, err)
			}
		}
	}
	lost(t, there, "carol", "no sign of life")
	lost(t, back, "bob", "no sign of life")
	tn.lines.heal()
	whole()
}

// shows waits until a node shows so many names, each once.
func (n *node) shows(t *testing.T, many int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s shows %d names", n.name, many), func(ctx context.Context) error {
		live, err := n.list(ctx, n.name)
		if err != nil {
			return err
		}
		for name, times := range live {
			if times != 1 {
				t.Errorf("%s shows %s %d times", n.name, name, times)
			}
		}
		if len(live) != many {
			return fmt.Errorf("it shows %v", live)
		}
		return nil
	})
}

// TestTakeover: a vat whose machine died without a word is back elsewhere, before anybody has missed it. Its new run
// takes over at once: what was in flight with the old one fails, and what comes goes to the new one.
func TestTakeover(t *testing.T) {
	tn := newTown(t, quick)
	alice, bob := tn.start("alice"), tn.start("bob")
	done := alice.hold(t, bob)
	tn.lines.freeze("alice", "bob")
	bob.registry.Close()
	if err := bob.member.Close(); err != nil {
		t.Fatal(err)
	}
	again := tn.start("bob")
	lost(t, done)
	alice.works(t, "alice", "bob", again.run)
	if got := alice.member.Addresses(tn.keys["bob"].ID()); len(got) != 1 || got[0] == "" {
		t.Errorf("bob is at %v", got)
	}
}

// TestLostSession: a vat has lost its session, of which its peer knows nothing, and connects anew, which looks to the
// peer as if both had dialed at once. Each of the two dials in one case, for ids decide.
func TestLostSession(t *testing.T) {
	for _, dialer := range []string{"alice", "bob"} {
		t.Run(dialer+" has dialed", func(t *testing.T) {
			tn := newTown(t, quick)
			nodes := map[string]*node{"alice": tn.start("alice"), "bob": tn.start("bob")}
			ours, theirs := nodes[dialer], nodes["bob"]
			if dialer == "bob" {
				theirs = nodes["alice"]
			}
			ours.works(t, theirs.name, theirs.name, theirs.run)
			done := ours.hold(t, theirs)
			tn.lines.freeze("alice", "bob")
			theirs.vat.EndSession(tn.keys[dialer].ID(), "lost")
			theirs.works(t, theirs.name, dialer, ours.run)
			lost(t, done)
			ours.works(t, theirs.name, theirs.name, theirs.run)
		})
	}
}

// TestFalseNews: the gossip gives up a node that lives and one that does not. Calls to the one go on, those to the other
// end.
func TestFalseNews(t *testing.T) {
	tn := newTown(t, quick)
	alice, bob, carol := tn.start("alice"), tn.start("bob"), tn.start("carol")
	alice.works(t, "alice", "bob", bob.run)
	alice.works(t, "alice", "carol", carol.run)
	alive, dead := alice.hold(t, bob), alice.hold(t, carol)
	tn.lines.hush("bob")
	alice.misses(t, "bob")
	tn.lines.hush("carol")
	tn.lines.freeze("alice", "carol")
	lost(t, dead, "no sign of life") // so bob, of whom the news came earlier, has been heard
	close(bob.worker.let)
	if o := ends(t, alive); o.err != nil || o.host != "bob" {
		t.Errorf("the call to bob: %+v, %v", o.receipt, o.err)
	}
	tn.lines.heal()
	alice.works(t, "bob", "carol", carol.run)
}

// TestStranger: a vat that is no member learns what to do, and the one that refused it counts.
func TestStranger(t *testing.T) {
	if testing.Short() {
		t.Skip("takes AdmissionPatience")
	}
	tn := newTown(t, quick)
	tn.direct = true
	alice := tn.start("alice")
	key, err := transport.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	network, err := transport.ListenTLS("", key, transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := vat.New(vat.Config{Network: network})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	at := alice.member.Addresses(tn.keys["alice"].ID())
	bootstrap := func() error {
		d := names.Directory(stranger.Bootstrap(t.Context(), tn.keys["alice"].ID(), at...))
		defer d.Release()
		ans, release := d.Identify(t.Context(), nil)
		defer release()
		_, err := ans.Struct()
		return err
	}
	err = bootstrap()
	for _, word := range []string{string(key.ID()), "neither a member", "join the cluster", "have the key allowed"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want an error that says %q", err, word)
		}
	}
	if n := alice.door.Refused(); n != 1 {
		t.Errorf("%d refused", n)
	}
	alice.door.Allow(key.ID())
	if err := bootstrap(); err != nil {
		t.Errorf("once it was allowed: %v", err)
	}
}

// TestBothDial: two nodes dial each other at once, over TLS. Both get their answers, over one session.
func TestBothDial(t *testing.T) {
	for range 5 {
		tn := newTown(t, quick)
		nodes := map[string]*node{}
		for _, name := range []string{"alice", "bob"} {
			var err error
			if nodes[name], err = tn.launch(name); err != nil { // publishes nothing, so has no session
				t.Fatal(err)
			}
		}
		alice, bob := nodes["alice"], nodes["bob"]
		alice.knows(t, "bob")
		bob.knows(t, "alice")
		done := make(chan error, 2)
		for n, other := range map[*node]string{alice: "bob", bob: "alice"} {
			go func() {
				d := names.Directory(n.vat.Bootstrap(t.Context(), tn.keys[other].ID()))
				defer d.Release()
				ans, release := d.Identify(t.Context(), nil)
				defer release()
				_, err := ans.Struct()
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for name, n := range nodes {
			eventually(t, name+" has one session", func(context.Context) error {
				if sessions := len(n.vat.Tree().Children); sessions != 1 {
					return fmt.Errorf("%d", sessions)
				}
				return nil
			})
		}
	}
}
