package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	seeds  = flag.Int("sim.seeds", 40, "how many seeds to run")
	first  = flag.Uint64("sim.first", 1, "the first of them")
	seed   = flag.Uint64("sim.seed", 0, "run this one alone")
	repeat = flag.Int("sim.repeat", 1, "how often to run each")
	freely = flag.Bool("sim.free", false, "run seeds too whose turns run as the scheduler says: they do not replay, and meet races of go-capnp's")
	traced = flag.Bool("sim.trace", false, "print every message")
	broken = flag.String("sim.break", "", "the rule that vats break")

	patience = flag.Duration("sim.patience", time.Minute, "for one run")
)

// regressions are seeds that have failed: see FINDINGS.md.
var regressions = []uint64{527, 30784}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSim(t *testing.T) {
	from, n := *first, uint64(*seeds)
	switch {
	case *seed > 0:
		from, n = *seed, 1
	case testing.Short():
		n = min(n, 10)
	}
	var run []uint64
	if *first == 1 && *seed == 0 {
		run = slices.Clone(regressions)
	}
	for i := range n {
		if *freely || *seed > 0 || !newPlan(from+i).free {
			run = append(run, from+i)
		}
	}
	t.Logf("seeds %v", run)
	for _, seed := range run {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runSeed(t, seed) })
	}
}

// runSeed runs one seed, and dumps all stacks where it does not end: a bubble whose goroutines wait for a mutex
// does not end by itself.
func runSeed(t *testing.T, seed uint64) {
	p := newPlan(seed)
	t.Logf("again: go test ./vat/sim -sim.seed %d -v; %+v", seed, p)
	if !p.free {
		// What happens in one moment happens in an order that depends on little but the seed then.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	watchdog := time.AfterFunc(time.Duration(*repeat)**patience, func() {
		buf := make([]byte, 1<<22)
		fmt.Fprintf(os.Stderr, "seed %d hangs\n%s\n", seed, buf[:runtime.Stack(buf, true)])
		os.Exit(2)
	})
	defer watchdog.Stop()
	for range *repeat {
		run(t, p)
	}
}
