package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// asPeer: in a process with this set, the test binary plays that part.
const asPeer = "VATWORK_BENCH_PEER"

// silent is the part of one that never says a word.
const silent = "silent"

func TestMain(m *testing.M) {
	if part := os.Getenv(asPeer); part == silent {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	} else if part != "" {
		if err := Play(part, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func peerCommand(part string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asPeer+"="+part)
	return cmd
}

// Each bench runs, briefly, and each of its rows has every number, and a ratio to each other system in its place.
func TestBenches(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			var progress bytes.Buffer
			rows, err := Run(t.Context(), name, Config{Rounds: 1, For: time.Millisecond, Many: 2_000, Command: peerCommand, Progress: &progress})
			if err != nil {
				t.Fatalf("%v\n%s", err, &progress)
			}
			if len(rows) == 0 || !strings.Contains(progress.String(), "round 1 of 1") {
				t.Fatalf("%d rows; progress: %s", len(rows), &progress)
			}
			for _, r := range rows {
				checkRow(t, r, rows)
			}
		})
	}
}

func checkRow(t *testing.T, r Row, all []Row) {
	t.Helper()
	if r.Error != "" {
		t.Errorf("%s %s %s: %s", r.Bench, r.System, r.Case, r.Error)
		return
	}
	if r.Mode == "idle" {
		if r.Bytes <= 0 {
			t.Errorf("nothing was weighed: %+v", r)
		}
		return
	}
	if !(0 < r.Least && r.Least <= r.Micros && r.Micros <= r.Most) || r.P50 <= 0 || r.P99 < r.P50 || r.Rate <= 0 || r.Measured < 1 {
		t.Errorf("these numbers cannot be: %+v", r)
	}
	for _, peer := range all {
		if peer.place() == r.place() && peer.System != r.System && r.Ratios[peer.System] <= 0 {
			t.Errorf("%s %s %s is not compared with %s", r.Bench, r.System, r.Case, peer.System)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"bench", "system", "transport", "mode", "us_per_op", "p50_us", "p99_us", "ops_per_s", "allocs_per_op", "cpu_us_per_op", "ratios"} {
		if !bytes.Contains(b, []byte(`"`+key+`":`)) {
			t.Errorf("no %s in %s", key, b)
		}
	}
}

func TestWrongConfig(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"nothing", Config{}, "no bench is called"},
		{"local", Config{Rounds: -1}, "above zero"},
		{"local", Config{For: -1}, "above zero"},
		{"local", Config{Silence: -1}, "above zero"},
		{"calls", Config{Silence: time.Millisecond, Command: func(string) *exec.Cmd { return peerCommand(silent) }}, "said nothing for 1ms, and was killed"},
		{"calls", Config{Command: func(string) *exec.Cmd { return exec.Command("/nowhere/at/all") }}, "/nowhere/at/all"},
		{"calls", Config{Command: func(string) *exec.Cmd { return peerCommand(`{"system":"none"}`) }}, "no system is called"},
	} {
		if _, err := Run(t.Context(), c.name, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.want)
		}
	}
}

// A subject that fails has its error in its row; the others are measured.
func TestFailedSubject(t *testing.T) {
	s := &stage{cfg: Config{Rounds: 2, For: time.Millisecond, Progress: new(bytes.Buffer)}}
	ok := func(context.Context) error { return nil }
	bad := func(context.Context) error { return fmt.Errorf("it broke") }
	s.add(subject{row: Row{System: "good"}, callers: 2, usage: ownUsage, op: ok})
	s.add(subject{row: Row{System: "bad"}, callers: 2, usage: ownUsage, op: bad})
	if err := s.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := s.rows()
	if rows[0].Rounds != 2 || rows[0].Error != "" || !strings.Contains(rows[1].Error, "it broke") || len(rows[0].Ratios) != 0 {
		t.Errorf("%+v", rows)
	}
}

// Only says which subjects are measured, by what the tables call them.
func TestOnly(t *testing.T) {
	s := &stage{cfg: Config{Only: regexp.MustCompile("x64, 1 process (good|better)")}}
	for _, r := range []Row{
		{System: "good", Transport: "tcp", Mode: "x64", Processes: 1},
		{System: "bad", Transport: "tcp", Mode: "x64", Processes: 1},
		{System: "good", Transport: "tcp", Mode: "serial", Processes: 1},
		{System: "better", Transport: "tcp", Mode: "x64", Case: "a case", Processes: 1},
		{System: "good", Transport: "tcp", Mode: "x64", Processes: 2},
	} {
		s.add(subject{row: r})
	}
	if len(s.subjects) != 2 || s.subjects[0].row.System != "good" || s.subjects[1].row.What() != "a case, tcp, x64, 1 process" {
		t.Errorf("measures %+v", s.subjects)
	}
}

func TestSummed(t *testing.T) {
	us := time.Microsecond
	r := summed(Row{}, []round{
		{ops: 2, wall: 40 * us, cpu: 10 * us, allocs: 8, latencies: []time.Duration{30 * us, 10 * us}},
		{ops: 1, wall: 10 * us, cpu: 1 * us, allocs: 2, latencies: []time.Duration{10 * us}},
		{ops: 1, wall: 60 * us, cpu: 2 * us, allocs: 9, latencies: []time.Duration{60 * us}},
	})
	want := Row{Micros: 20, Least: 10, Most: 60, P50: 10, P99: 10, Rate: 50_000, Allocs: 4, CPU: 2, Rounds: 3, Measured: 4}
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("%+v\nwant\n%+v", r, want)
	}
}

// What a subject leaves behind is over before the next one is measured.
func TestSubjectRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 5
		var u Usage
		s := subject{callers: 1, op: func(context.Context) error { return nil }, usage: func() (Usage, error) {
			if left > 0 {
				left--
				u.Mallocs += restAllocs
			}
			u.Mallocs += 10
			return u, nil
		}}
		start := time.Now()
		if err := s.rest(t.Context()); err != nil || left > 0 || time.Since(start) > 10*restTime {
			t.Errorf("rested for %v (%v) with %d things left to do", time.Since(start), err, left)
		}
		left = math.MaxInt
		if err := s.rest(t.Context()); err != nil || time.Since(start) < maxRest {
			t.Errorf("rested for %v (%v) with always more to do", time.Since(start), err)
		}
	})
}
