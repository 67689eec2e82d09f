package names

import (
	"fmt"
	"slices"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
)

func held(t *testing.T, at *table, name string, now uint64) *own {
	t.Helper()
	o, err := at.begin(name, at.self, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := at.establish(o); err != nil {
		t.Fatal(err)
	}
	return o
}

func tables(names ...string) []*table {
	var all []*table
	for i, name := range names {
		all = append(all, newTable(id(name), uint64(i+1)))
	}
	for _, x := range all {
		for _, y := range all {
			if x != y {
				x.joined(y.self)
			}
		}
	}
	return all
}

// Of two claims at once one wins, whichever of them is made first, and is heard of first.
func TestClaimsAtOnce(t *testing.T) {
	for stampA := range uint64(3) {
		for stampB := range uint64(3) {
			for order := range 6 {
				x := tables("a", "b")
				claims := make([]*own, 2)
				var refused [2]bool
				ask := func(i int) { // node i asks the other
					o := claims[i]
					free, _ := x[1-i].claimed(x[i].self, "n", o.Stamp)
					refused[i] = !free
				}
				begin := func(i int, stamp uint64) {
					claims[i], _ = x[i].begin("n", x[i].self, 10+stamp)
				}
				steps := []func(){func() { begin(0, stampA) }, func() { begin(1, stampB) }, func() { ask(0) }, func() { ask(1) }}
				for _, i := range [][]int{{0, 1, 2, 3}, {0, 1, 3, 2}, {1, 0, 2, 3}, {1, 0, 3, 2}, {0, 2, 1, 3}, {1, 3, 0, 2}}[order] {
					steps[i]()
				}
				holders := 0
				for i := range 2 {
					if !refused[i] && x[i].establish(claims[i]) == nil {
						holders++
					}
				}
				if holders != 1 {
					t.Errorf("stamps %d and %d, order %d: %d hold the name", stampA, stampB, order, holders)
				}
			}
		}
	}
}

// What a node says is taken over in the order in which it has happened there, however it arrives.
func TestMergeOutOfOrder(t *testing.T) {
	x := tables("a", "b")
	a, b := x[0], x[1]
	o := held(t, a, "n", 1)
	first := a.news(nil, true)
	a.end(o)
	gone := a.news(map[string]bool{"n": true}, false)
	held(t, a, "m", 2)
	second := a.news(map[string]bool{"m": true}, false)
	for _, n := range []told{second, gone, first} {
		if _, _, err := b.merge(a.self, n); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.names(); !slices.Equal(got, []string{"m"}) {
		t.Errorf("b knows %v", got)
	}
	// What was told before all was is not believed after that, whether a trace of it is left or not.
	if _, _, err := b.merge(a.self, a.news(nil, true)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.merge(a.self, told{epoch: a.epoch, version: first.version, records: first.records}); err != nil {
		t.Fatal(err)
	}
	if got := b.names(); !slices.Equal(got, []string{"m"}) {
		t.Errorf("b knows %v after all was told", got)
	}
	again := newTable(a.self, a.epoch+1)
	if _, _, err := b.merge(a.self, again.news(nil, true)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.merge(a.self, first); err != nil {
		t.Fatal(err)
	}
	if got := b.names(); len(got) > 0 {
		t.Errorf("b knows %v of a node that has started anew", got)
	}
}

// Both sides of a conflict decide alike.
func TestConflict(t *testing.T) {
	for _, c := range []struct{ stampA, stampB uint64 }{{1, 2}, {2, 1}, {5, 5}} {
		x := tables("a", "b")
		a, b := x[0], x[1]
		held(t, a, "n", c.stampA)
		held(t, b, "n", c.stampB)
		_, atB, _ := b.merge(a.self, a.news(nil, true))
		_, atA, _ := a.merge(b.self, b.news(nil, true))
		if len(atA) != 1 || len(atB) != 1 || atA[0].lost == atB[0].lost {
			t.Errorf("stamps %+v: at a %+v, at b %+v", c, atA, atB)
		}
	}
}

func TestBounds(t *testing.T) {
	a := newTable(id("a"), 1)
	for i := range MaxNamesEach {
		if _, err := a.begin(fmt.Sprint("x", i), id("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.begin("one more", id("x"), 1); err == nil {
		t.Error("a publisher has more than MaxNamesEach")
	}
	for i := range MaxNames - MaxNamesEach {
		if _, err := a.begin(fmt.Sprint("a", i), a.self, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.begin("one more", a.self, 1); err == nil {
		t.Error("a node holds more than MaxNames")
	}
}

func newEntry(t *testing.T) (*capnp.Message, Entry) {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	e, err := NewRootEntry(seg)
	if err != nil {
		t.Fatal(err)
	}
	return msg, e
}

// FuzzNews reads what a member might say.
func FuzzNews(f *testing.F) {
	f.Add("n", uint16(1), string(id("x")), "why", uint64(1))
	f.Fuzz(func(t *testing.T, name string, state uint16, publisher, why string, version uint64) {
		msg, root := newEntry(t)
		defer msg.Release()
		root.SetState(State(state))
		root.SetVersion(version)
		for _, err := range []error{root.SetName(name), root.SetPublisher(publisher), root.SetWhy(why)} {
			if err != nil {
				t.Skip(err)
			}
		}
		r, err := decode(root, id("b"))
		if err != nil {
			return
		}
		if checkName(r.Name) != nil || r.State > Gone || r.Holder != id("b") {
			t.Errorf("decoded %+v", r)
		}
		if _, err := transport.ParseVatID(string(r.Publisher)); r.Publisher != "" && err != nil {
			t.Errorf("decoded %+v", r)
		}
	})
}
