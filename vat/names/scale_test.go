package names

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fifty nodes publish a name each, all at once, and each finds those of others.
func TestFiftyNodes(t *testing.T) {
	n := 50
	if testing.Short() {
		n = 12
	}
	nodes := make([]string, n)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("n%02d", i)
	}
	tn := newTown(t, nodes...)
	var all sync.WaitGroup
	for _, at := range nodes {
		what := tn.nodes[at].object(t)
		all.Go(func() {
			if err := tn.nodes[at].registry.Publish(t.Context(), "of "+at, what); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		})
	}
	all.Wait()
	for i, at := range nodes {
		all.Go(func() {
			d := tn.nodes[at].registry.Local()
			defer d.Release()
			for k := range 7 {
				of := nodes[(i+7*k)%n]
				if got, err := greet(t.Context(), d, "of "+of); err != nil || got != "hello you, from "+of {
					t.Errorf("%s at %s: %q, %v", of, at, got, err)
				}
			}
		})
	}
	all.Wait()
}

// A member that does not answer holds up a publisher for no longer than Patience, and learns of it when it does.
func TestSilentMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "a", "b", "c")
		link := tn.memory.Link(id("a"), id("b"))
		link.Hold()
		begun := time.Now()
		tn.publish(tn.own("a"), "n", tn.nodes["a"].object(t))
		if took := time.Since(begun); took > Patience {
			t.Errorf("it took %v", took)
		}
		tn.wantGreeting(tn.own("c"), "n", "a")
		begun = time.Now()
		if all := tn.nodes["a"].registry.List(t.Context()); len(all) != 1 || time.Since(begun) > Patience {
			t.Errorf("listing took %v: %+v", time.Since(begun), all)
		}
		link.Free()
		time.Sleep(2*maxPause + Patience)
		if r := tn.known("b", "n"); r.State != Live {
			t.Errorf("b knows %+v", r)
		}
		for _, n := range tn.nodes {
			n.close()
		}
		time.Sleep(time.Second) // protoactor counts dead letters by the clock
	})
}

// What is gone is shown as such for a while, and forgotten then.
func TestGoneForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tn := newTown(t, "a", "b", "c")
		x := tn.guest("x")
		tn.publish(tn.at("x", "a"), "of x", x.object(t))
		tn.publish(tn.own("b"), "of b", tn.nodes["b"].object(t))
		x.close()
		tn.nodes["b"].close()
		for _, at := range []string{"a", "c"} {
			tn.nodes[at].registry.Departed(id("b"), "has failed")
		}
		synctest.Wait()
		for _, want := range []State{Gone, Absent} {
			for _, at := range []string{"a", "c"} {
				for _, name := range []string{"of x", "of b"} {
					if r := tn.known(at, name); r.State != want {
						t.Errorf("%s knows %+v, want %v", at, r, want)
					}
				}
			}
			time.Sleep(Hold + time.Second)
		}
		if n := len(tn.nodes["c"].registry.table.others); n != 1 {
			t.Errorf("c remembers %d others", n)
		}
		for _, n := range tn.nodes {
			n.close()
		}
		time.Sleep(time.Second) // protoactor counts dead letters by the clock
	})
}
