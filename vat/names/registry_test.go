package names

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
)

// What is published at one node is found from all, and withdrawn from all.
func TestPublishAndLookup(t *testing.T) {
	tn := newTown(t, "a", "b", "c")
	p := tn.publish(tn.own("a"), "greeter", tn.nodes["a"].object(t))
	for _, name := range []string{"a", "b", "c"} {
		tn.wantGreeting(tn.own(name), "greeter", "a")
		if r := tn.known(name, "greeter"); r.State != Live || r.Holder != id("a") || r.Publisher != id("a") {
			t.Errorf("%s knows %+v", name, r)
		}
		if all := tn.nodes[name].registry.List(t.Context()); len(all) != 1 || all[0].Name != "greeter" {
			t.Errorf("%s lists %+v", name, all)
		}
	}
	_, release := p.Withdraw(t.Context(), nil)
	defer release()
	if why, err := ended(t.Context(), p); err != nil || why != "withdrawn" {
		t.Errorf("ended: %q, %v", why, err)
	}
	for _, name := range []string{"a", "b", "c"} {
		eventually(t, "that "+name+" forgets", func() bool { return tn.known(name, "greeter").State == Absent })
		_, err := greet(t.Context(), tn.own(name), "greeter")
		wantError(t, err, exc.Failed, "no such name")
	}
}

// A guest that asks one node for what is published at another one talks to the host, be it that node or a third vat.
func TestLookupIsHandedOff(t *testing.T) {
	for _, host := range []string{"b", "h"} {
		t.Run(host, func(t *testing.T) {
			tn := newTown(t, "a", "b")
			tn.guest("guest")
			tn.guest("h")
			publisher := tn.own("b")
			if host == "h" {
				publisher = tn.at("h", "b")
			}
			tn.publish(publisher, "greeter", tn.nodes[host].object(t))
			d := tn.at("guest", "a")
			found, release := d.Lookup(t.Context(), func(p Directory_lookup_Params) error { return p.SetName("greeter") })
			defer release()
			res, err := found.Struct()
			if err != nil {
				t.Fatal(err)
			}
			c := res.Cap().AddRef()
			defer c.Release()
			want := "hello you, from " + host
			if got := say(t, c); got != want {
				t.Error(got)
			}
			for _, between := range []string{"a", "b"} {
				if between != host {
					tn.nodes[between].close()
				}
			}
			if got := say(t, c); got != want {
				t.Errorf("without those in between: %s", got)
			}
		})
	}
}

// A name is replaced and withdrawn by who has published it, and by nobody else.
func TestPublisherAlone(t *testing.T) {
	tn := newTown(t, "a", "b")
	x, y := tn.guest("x"), tn.guest("y")
	tn.publish(tn.at("x", "a"), "n", x.object(t))
	_, err := publish(t.Context(), tn.at("y", "a"), "n", y.object(t))
	wantError(t, err, exc.Failed, "who alone can replace it")
	_, err = publish(t.Context(), tn.own("a"), "n", tn.nodes["a"].object(t))
	wantError(t, err, exc.Failed, "who alone can replace it")
	_, err = publish(t.Context(), tn.own("b"), "n", tn.nodes["b"].object(t))
	wantError(t, err, exc.Failed, "held at node")
	tn.wantGreeting(tn.own("b"), "n", "x")

	other := tn.guest("other")
	tn.publish(tn.at("x", "a"), "n", other.object(t)) // its own, of another host
	tn.wantGreeting(tn.own("b"), "n", "other")
	if err := claimAs(tn, "x", "a", "m"); err == nil {
		t.Error("a guest made a claim as if it were a member")
	}
}

func claimAs(tn *town, guest, host, name string) error {
	answer, release := Peer(tn.at(guest, host)).Claim(tn.t.Context(), func(p Peer_claim_Params) error { return p.SetName(name) })
	defer release()
	_, err := answer.Struct()
	return err
}

// Of many who publish one name at once, one does.
func TestPublishAtOnce(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	tn := newTown(t, names...)
	for i := range 20 {
		name := fmt.Sprint("n", i)
		var won []string
		var mu sync.Mutex
		var all sync.WaitGroup
		for _, at := range names {
			d, what := tn.own(at), tn.nodes[at].object(t)
			all.Go(func() {
				p, err := publish(context.Background(), d, name, what)
				if err == nil {
					mu.Lock()
					won = append(won, at)
					mu.Unlock()
					p.Release()
				}
			})
		}
		all.Wait()
		if len(won) != 1 {
			t.Fatalf("%v hold %s", won, name)
		}
		for _, at := range names {
			tn.wantGreeting(tn.own(at), name, won[0])
		}
	}
}

// Both halves of a partition go on. Afterwards no name is lost, and none is there twice.
func TestPartition(t *testing.T) {
	tn := newTown(t, "a", "b")
	tn.publish(tn.own("a"), "old a", tn.nodes["a"].object(t))
	tn.publish(tn.own("a"), "old a, too", tn.nodes["a"].object(t))
	tn.part("a", "b")
	if r := tn.known("b", "old a"); r.State != Gone || r.Why != "node a has failed" {
		t.Errorf("b knows %+v", r)
	}
	_, err := greet(t.Context(), tn.own("b"), "old a")
	wantError(t, err, exc.Disconnected, "node a has failed")
	early := tn.publish(tn.own("a"), "both", tn.nodes["a"].object(t))
	late := tn.publish(tn.own("b"), "both", tn.nodes["b"].object(t))
	takeover := tn.publish(tn.own("b"), "old a", tn.nodes["b"].object(t))
	tn.publish(tn.own("b"), "new b", tn.nodes["b"].object(t))
	tn.wantGreeting(tn.own("a"), "both", "a")
	tn.wantGreeting(tn.own("b"), "both", "b")
	tn.wantGreeting(tn.own("b"), "old a", "b")
	passing := tn.publish(tn.own("b"), "old a, too", tn.nodes["b"].object(t))
	_, release := passing.Withdraw(t.Context(), nil)
	defer release()
	if why, err := ended(t.Context(), passing); err != nil || tn.known("b", "old a, too").State != Absent {
		t.Errorf("taken over and withdrawn: %s, %v; b knows %+v", why, err, tn.known("b", "old a, too"))
	}

	tn.meet("a", "b")
	for _, p := range []Publication{late, takeover} {
		why, err := ended(t.Context(), p)
		if want := "lost to a, who published the name earlier, at node a"; err != nil || why != want {
			t.Errorf("the later one ended: %q, %v; want %q", why, err, want)
		}
	}
	for _, at := range []string{"a", "b"} {
		for name, by := range map[string]string{"both": "a", "old a": "a", "old a, too": "a", "new b": "b"} {
			eventually(t, name+" at "+at, func() bool { r := tn.known(at, name); return r.State == Live && r.Holder == id(by) })
			tn.wantGreeting(tn.own(at), name, by)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if why, err := ended(ctx, early); err == nil {
		t.Errorf("the earlier one ended: %s", why)
	}
}

// A name whose host is gone says so, to all, until its publisher replaces it.
func TestHostGone(t *testing.T) {
	tn := newTown(t, "a", "b")
	x := tn.guest("x")
	tn.publish(tn.at("x", "a"), "n", x.object(t))
	tn.wantGreeting(tn.own("b"), "n", "x")
	x.close()
	eventually(t, "that b hears of it", func() bool { return tn.known("b", "n").State == Gone })
	_, err := greet(t.Context(), tn.own("b"), "n")
	wantError(t, err, exc.Disconnected, `"n" is gone`)
	_, err = publish(t.Context(), tn.own("b"), "n", tn.nodes["b"].object(t))
	wantError(t, err, exc.Failed, "held at node")

	again := tn.guest("x")
	tn.publish(tn.at("x", "a"), "n", again.object(t))
	tn.wantGreeting(tn.own("b"), "n", "x")
}

// A node that comes back has no names, and those that it had are no longer shown.
func TestNodeComesBack(t *testing.T) {
	tn := newTown(t, "a", "b", "c")
	tn.publish(tn.own("a"), "n", tn.nodes["a"].object(t))
	tn.publish(tn.own("b"), "m", tn.nodes["b"].object(t))
	tn.nodes["a"].close()
	for _, at := range []string{"b", "c"} {
		tn.nodes[at].registry.Departed(id("a"), "has failed")
	}
	_, err := greet(t.Context(), tn.own("c"), "n")
	wantError(t, err, exc.Disconnected, "node a has failed")
	tn.start("a")
	tn.meet("a", "b")
	tn.meet("a", "c")
	tn.wantGreeting(tn.own("a"), "m", "b")
	for _, at := range []string{"b", "c"} {
		eventually(t, at+" forgets", func() bool { return tn.known(at, "n").State == Absent })
	}
	tn.publish(tn.own("a"), "n", tn.nodes["a"].object(t))
	tn.wantGreeting(tn.own("c"), "n", "a")
}

// A node that closes does not say that it holds no names any more: it is gone, with them.
func TestCloses(t *testing.T) {
	tn := newTown(t, "a", "b")
	tn.publish(tn.own("a"), "n", tn.nodes["a"].object(t))
	tn.nodes["a"].registry.Close()
	tn.nodes["b"].registry.mu.Lock()
	tn.nodes["b"].registry.soil(id("a"), func(l *link) { l.ask = true })
	tn.nodes["b"].registry.mu.Unlock()
	_, _, err := tn.nodes["b"].registry.Lookup(t.Context(), "n")
	wantError(t, err, exc.Disconnected, "closing")
	if r := tn.known("b", "n"); r.State != Live {
		t.Errorf("b knows %+v", r)
	}
	tn.nodes["b"].registry.Departed(id("a"), "has left")
	_, _, err = tn.nodes["b"].registry.Lookup(t.Context(), "n")
	wantError(t, err, exc.Disconnected, "node a has left")
}

// A node of which others have not heard yet is asked by whoever misses a name.
func TestNewcomerAsks(t *testing.T) {
	tn := newTown(t, "a")
	tn.publish(tn.own("a"), "n", tn.nodes["a"].object(t))
	tn.start("b")
	tn.nodes["b"].registry.Joined(id("a")) // and a does not know of b: it tells nothing, and answers nothing
	if r := tn.known("b", "n"); r.State != Absent {
		t.Fatalf("b knows %+v", r)
	}
	tn.nodes["a"].registry.mu.Lock()
	tn.nodes["a"].registry.table.joined(id("b")) // it does, and has not got round to telling
	tn.nodes["a"].registry.mu.Unlock()
	tn.wantGreeting(tn.own("b"), "n", "a")
}

// watcher notes what it is told.
type watcher chan State

func (w watcher) Changed(_ context.Context, call Watcher_changed) error {
	e, err := call.Args().Entry()
	if err == nil {
		w <- e.State()
	}
	return err
}

func TestWatch(t *testing.T) {
	tn := newTown(t, "a", "b")
	tn.guest("x")
	told := make(watcher, 16)
	d := tn.at("x", "b")
	answer, release := d.Watch(t.Context(), func(p Directory_watch_Params) error {
		if err := p.SetName("n"); err != nil {
			return err
		}
		return p.SetWatcher(Watcher_ServerToClient(told))
	})
	if _, err := answer.Struct(); err != nil {
		t.Fatal(err)
	}
	want := func(s State) {
		t.Helper()
		select {
		case got := <-told:
			if got != s {
				t.Errorf("told %v, want %v", got, s)
			}
		case <-t.Context().Done():
			t.Fatalf("not told %v", s)
		}
	}
	want(Absent)
	what := tn.guest("y")
	tn.publish(tn.at("y", "a"), "n", what.object(t))
	want(Live)
	what.close()
	want(Gone)
	release()
	eventually(t, "the end of the watch", func() bool { return tn.nodes["b"].registry.Stats().Watches == 0 })
}

func TestWrongNames(t *testing.T) {
	tn := newTown(t, "a")
	d := tn.own("a")
	for _, name := range []string{"", "line\nbreak", string(make([]byte, MaxNameBytes+1)), "\xff"} {
		_, err := publish(t.Context(), d, name, tn.nodes["a"].object(t))
		wantError(t, err, exc.Failed, "name")
	}
	_, err := publish(t.Context(), d, "n", capnp.Client{})
	wantError(t, err, exc.Failed, "no capability")
	if n := tn.nodes["a"].registry.Stats(); n != (Stats{}) {
		t.Errorf("%+v", n)
	}
	if all := tn.nodes["a"].registry.List(t.Context()); !slices.Equal(all, nil) {
		t.Errorf("%+v", all)
	}
}
