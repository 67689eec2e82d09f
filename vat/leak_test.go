package vat

import (
	"runtime"
	"testing"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// Calls with capabilities in parameters and results, pipelined and not, leave nothing behind: no entry, no
// goroutine, no memory.
func TestNothingIsLeftOfCalls(t *testing.T) {
	c := newCluster(t, "alice", "bob", "carol")
	bob, carol := c.ready("alice", "bob"), c.ready("alice", "carol")
	round := func(n int) {
		for range n {
			mine, client := newProbe("mine")
			for _, x := range []testapi.Probe{client, carol, bob} {
				passed, release := bob.Pass(t.Context(), giving[testapi.Probe_pass_Params](x))
				back := passed.Probe()
				again, releaseAgain := bob.Pass(t.Context(), giving[testapi.Probe_pass_Params](back))
				if err := noteOn(t.Context(), again.Probe(), 1, 1); err != nil {
					t.Fatal(err)
				}
				release()
				releaseAgain()
			}
			client.Release()
			arrives(t, "the shutdown of mine", mine.down)
		}
	}
	measure := func() (goroutines int, heap uint64) {
		eventually(t, func() string { return "two references each\n" + c.trees() }, func() bool {
			a := c.byName["alice"].Tables()
			return a.Questions == 0 && a.Imports == 2 && a.Exports == 0 && a.Embargoes == 0 &&
				c.byName["bob"].Tables().Provisions == 0 && c.byName["carol"].Tables().Provisions == 0
		})
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc
	}
	n := 1100 // three times three calls each: about 10,000
	if testing.Short() {
		n = 50
	}
	round(n / 4)
	goroutines, heap := measure()
	round(n)
	goroutinesAfter, heapAfter := measure()
	if goroutinesAfter > goroutines+4 {
		t.Errorf("%d goroutines before, %d after", goroutines, goroutinesAfter)
	}
	// What is kept on purpose has a bound: spare table actors, tombstones of provisions, notes of the probes.
	if heapAfter > 2*heap {
		t.Errorf("heap of %d bytes before, %d after", heap, heapAfter)
	}
}
