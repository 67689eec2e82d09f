//go:build sim

package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	seeds  = flag.Int("sim.seeds", 30, "how many seeds to run")
	first  = flag.Uint64("sim.first", 1, "the first of them")
	seed   = flag.Uint64("sim.seed", 0, "run this one alone")
	traced = flag.Bool("sim.trace", false, "print every message")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSim(t *testing.T) {
	if *seed > 0 {
		runSeed(t, *seed)
		return
	}
	for i := range uint64(*seeds) {
		t.Run(fmt.Sprint(*first+i), func(t *testing.T) { runSeed(t, *first+i) })
	}
}

// runSeed runs one seed, and dumps all stacks where it does not end: a bubble whose goroutines wait for a mutex
// does not end by itself.
func runSeed(t *testing.T, seed uint64) {
	p := newPlan(seed)
	t.Logf("%+v", p)
	watchdog := time.AfterFunc(patience, func() {
		buf := make([]byte, 1<<22)
		fmt.Fprintf(os.Stderr, "seed %d hangs\n%s\n", seed, buf[:runtime.Stack(buf, true)])
		os.Exit(2)
	})
	defer watchdog.Stop()
	run(t, p)
}

// patience is for one run.
const patience = 60 * time.Second
