package sim

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

var teeth = flag.Uint64("sim.teeth", 0, "in how many seeds each broken rule has to be seen; 0 tries the quick ones only")

// quick are rules that are seen within a few seeds when they are broken.
var quick = []hook.Rule{hook.Gate, hook.Loopback, hook.Provision, hook.EarlyID}

// TestTeeth has vats break each rule of order, and counts the seeds until a run fails.
func TestTeeth(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	rules, limit := hook.Rules, *teeth
	if limit == 0 {
		rules, limit = quick, 40
	}
	for _, rule := range rules {
		t.Run(string(rule), func(t *testing.T) {
			n, why := seenAfter(t, rule, limit)
			if n == 0 {
				t.Errorf("not seen in %d seeds", limit)
				return
			}
			t.Logf("seen by seed %d: %s", n, why)
		})
	}
}

var (
	failedSeed = regexp.MustCompile(`(?m)^ +--- FAIL: TestSim/(\d+)`)
	hungSeed   = regexp.MustCompile(`(?m)^seed (\d+) (hangs)`)
	failure    = regexp.MustCompile(`_test\.go:\d+: seed \d+: (.*)`)
)

// seenAfter is the first seed that fails when rule is broken, 0 if none does, and what it says. The runs are in a
// process of their own: they may leave anything behind.
func seenAfter(t *testing.T, rule hook.Rule, limit uint64) (seed uint64, why string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for first := uint64(1); first <= limit; first += 10 {
		out, err := exec.Command(self, "-test.run=^TestSim$", "-test.v", "-test.failfast", "-sim.break="+string(rule),
			fmt.Sprint("-sim.first=", first), "-sim.seeds=10", "-sim.patience=10s").CombinedOutput()
		if err == nil {
			continue
		}
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Fatal(err)
		}
		why = "the process ends"
		if m := failure.FindSubmatch(out); m != nil {
			why = string(m[1])
		}
		m := failedSeed.FindSubmatch(out)
		if m == nil {
			if m = hungSeed.FindSubmatch(out); m == nil {
				return first + 9, why
			}
			why = "it hangs"
		}
		seed, _ = strconv.ParseUint(string(m[1]), 10, 64)
		return seed, why
	}
	return 0, ""
}
