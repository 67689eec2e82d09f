package names

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestChaos publishes and withdraws a few names at all nodes at once, while pairs of nodes lose sight of each other and
// meet again, links fall silent, and nodes start anew. When all is calm again, each name is held once at most, all know
// the same, and whatever has been published and has not ended is there.
func TestChaos(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func chaos(t *testing.T, chance *rand.Rand) {
	nodes := []string{"a", "b", "c", "d"}
	names := []string{"x", "y", "z"}
	tn := newTown(t, nodes...)
	var published ledger
	apart := map[[2]string]bool{}
	for range 60 {
		switch at := pick(chance, nodes); chance.IntN(9) {
		case 0, 1, 2:
			name, registry, what := pick(chance, names), tn.nodes[at].registry, tn.nodes[at].object(t)
			published.tasks.Go(func() {
				if p, err := registry.publish(context.Background(), name, what, id(at)); err == nil {
					published.add(p)
				}
			})
		case 3:
			name, registry := pick(chance, names), tn.nodes[at].registry
			published.tasks.Go(func() { _, _ = registry.Withdraw(context.Background(), name, id(at)) })
		case 4, 5:
			if other := pick(chance, nodes); other < at {
				pair := [2]string{other, at}
				if apart[pair] = !apart[pair]; apart[pair] {
					tn.part(other, at)
				} else {
					tn.meet(other, at)
				}
			}
		case 6:
			if other := pick(chance, nodes); other != at {
				link := tn.memory.Link(id(at), id(other))
				link.Hold()
				time.AfterFunc(time.Duration(chance.IntN(int(2*Patience))), link.Free)
			}
		case 7:
			time.Sleep(time.Duration(chance.IntN(int(Patience))))
		case 8:
			if chance.IntN(4) == 0 {
				tn.restart(at, nodes, apart)
			}
		}
		if chance.IntN(3) == 0 {
			synctest.Wait()
		}
	}
	for pair, cut := range apart {
		if cut {
			tn.meet(pair[0], pair[1])
		}
	}
	published.tasks.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
	tn.agree(nodes, names)
	published.check(t)
	for _, n := range tn.nodes {
		n.close()
	}
	time.Sleep(time.Minute) // protoactor has a goroutine that sleeps
}

// restart ends a node, and starts it again: it sees whom it saw before.
func (tn *town) restart(at string, nodes []string, apart map[[2]string]bool) {
	tn.nodes[at].close()
	var near []string
	for _, other := range nodes {
		if other != at && !apart[[2]string{min(at, other), max(at, other)}] {
			near = append(near, other)
			tn.nodes[other].registry.Departed(id(at), "has failed")
		}
	}
	time.Sleep(time.Millisecond) // its epoch is the time
	tn.start(at)
	for _, other := range near {
		tn.meet(at, other)
	}
}

func pick(chance *rand.Rand, from []string) string { return from[chance.IntN(len(from))] }

// A ledger is what was published.
type ledger struct {
	tasks sync.WaitGroup
	mu    sync.Mutex
	all   map[*publication]bool
}

func (l *ledger) add(p *publication) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*publication]bool{}
	}
	l.all[p] = true
}

// check wants each publication to be held, or to have ended for a reason.
func (l *ledger) check(t *testing.T) {
	for p := range l.all {
		r := p.registry
		r.mu.Lock()
		held := r.table.own[p.own.Name] == p.own
		r.mu.Unlock()
		select {
		case <-p.ended:
			if held || p.why == "" {
				t.Errorf("%s at %s has ended (%s), held: %v", p.own.Name, r.cfg.Name, p.why, held)
			}
		default:
			if !held {
				t.Errorf("%s at %s is lost", p.own.Name, r.cfg.Name)
			}
		}
	}
}

// agree wants all nodes to know the same of each name, and one at most to hold it.
func (tn *town) agree(nodes, names []string) {
	tn.t.Helper()
	for _, name := range names {
		var holders []string
		for _, at := range nodes {
			if o := tn.nodes[at].registry.table.own[name]; o != nil {
				holders = append(holders, at)
			}
		}
		if len(holders) > 1 {
			tn.t.Errorf("%v hold %s", holders, name)
		}
		first := tn.nodes[nodes[0]].registry.Describe(tn.t.Context(), name)
		for _, at := range nodes[1:] {
			if r := tn.nodes[at].registry.Describe(tn.t.Context(), name); r != first {
				tn.t.Errorf("of %s %s knows %+v, and %s %+v", name, nodes[0], first, at, r)
			}
		}
		if len(holders) == 1 && (first.State != Live || first.Holder != id(holders[0])) {
			tn.t.Errorf("%s holds %s, and %s knows %+v", holders[0], name, nodes[0], first)
		}
	}
}
