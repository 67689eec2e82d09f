package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	update    = flag.Bool("update", false, "rewrite the observed lines of the scenario files; never their musts")
	schedules = flag.Int("schedules", 10, "how many random schedules each scenario file is run under")
	seed      = flag.Uint64("seed", 0, "run this schedule alone")
)

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			s := readScript(t, file)
			variants := s.variants()
			if variants == nil {
				if !s.has("loose") {
					t.Run("exact", func(t *testing.T) { runExact(t, s) })
				}
				t.Run("schedules", func(t *testing.T) { runSchedules(t, s) })
				return
			}
			for _, v := range variants {
				t.Run(v, func(t *testing.T) { runSchedules(t, s.with(v)) })
			}
		})
	}
}

// runExact runs s with everything in its order, and compares or rewrites its observed lines.
func runExact(t *testing.T, s *script) {
	var observed []string
	synctest.Test(t, func(t *testing.T) {
		var err error
		if observed, err = newStage(t, nil).run(s); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		return
	}
	got, want := strings.Join(observed, "\n")+"\n", strings.Join(s.lines, "\n")+"\n"
	switch {
	case got == want:
	case *update:
		if err := os.WriteFile(s.name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: observed lines differ (-update rewrites them):\n%s", s.name, diff(s.lines, observed))
	}
}

func runSchedules(t *testing.T, s *script) {
	n := *schedules
	if testing.Short() {
		n = min(n, 5)
	}
	for i := range n {
		schedule := uint64(i + 1)
		if *seed != 0 {
			schedule = *seed
		}
		if !t.Run(fmt.Sprint(schedule), func(t *testing.T) { runSchedule(t, s, schedule) }) {
			return
		}
		if *seed != 0 {
			return
		}
	}
}

// runSchedule runs s under the schedule of a seed, as far as a schedule can be chosen.
func runSchedule(t *testing.T, s *script, seed uint64) {
	procs := runtime.GOMAXPROCS(1 + int(seed%4))
	defer runtime.GOMAXPROCS(procs)
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, newDice(seed))
		if _, err := st.run(s); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("again: go test ./vat/scenario -run %q -seed %d", t.Name(), seed)
			for _, l := range st.log {
				t.Log(l)
			}
		}
	})
}

// run carries out s, up to the first fault, and returns its lines with what was observed.
func (st *stage) run(s *script) (out []string, err error) {
	ended := false
	defer func() {
		if !ended {
			st.close()
		}
	}()
	for i, line := range s.lines {
		d, ok := s.directive(i)
		if !ok {
			if !strings.HasPrefix(line, "|") {
				out = append(out, line)
			}
			continue
		}
		out = append(out, line)
		if d.word == "end" {
			ended = true
			st.end()
		} else if err := st.step(d); err != nil {
			return nil, fmt.Errorf("%s:%d: %v: %w", s.name, d.line, d, err)
		}
		if d.word == "settle" || d.word == "end" {
			out = append(out, st.pending...)
			st.pending = nil
		}
	}
	if !ended {
		return nil, fmt.Errorf("%s: the last directive is not end", s.name)
	}
	return out, nil
}

// step carries out one directive.
func (st *stage) step(d directive) error {
	switch d.word {
	case "each", "loose":
		return nil // see TestScenarios
	case "vats":
		for _, name := range d.args {
			if err := st.add(name); err != nil {
				return err
			}
		}
		return nil
	case "give":
		return st.stepGive(d.args)
	case "hold", "free":
		for _, arg := range d.args {
			l, err := parseLink(arg)
			if err != nil {
				return err
			}
			st.wire.hold(l, d.word == "hold")
		}
		return nil
	case "dials":
		return st.dial(d.args)
	case "cut":
		l, err := parseLink(d.args[0])
		if err == nil {
			st.cut(l)
		}
		return err
	case "do":
		m, err := st.member(d.args[0])
		if err == nil {
			err = st.act(m, d.args[1:])
		}
		st.pause()
		return err
	case "settle":
		st.settle()
		return nil
	case "pass":
		wait, err := time.ParseDuration(d.args[0])
		time.Sleep(wait)
		st.settle()
		return err
	case "mark":
		st.mark = len(st.log)
		return nil
	case "must":
		return st.must(d.args)
	}
	return fmt.Errorf("unknown directive %q", d.word)
}

// stepGive reads "bob C=carol.obj".
func (st *stage) stepGive(args []string) error {
	if len(args) == 2 {
		name, source, ok := strings.Cut(args[1], "=")
		from, object, ok2 := strings.Cut(source, ".")
		if ok && ok2 {
			return st.give(args[0], name, from, object)
		}
	}
	return fmt.Errorf("want: give VAT NAME=VAT.OBJECT")
}

// diff shows the lines that are not in both, in place.
func diff(want, got []string) string {
	var out strings.Builder
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(want) > 0 && len(got) > 0 && want[0] == got[0]:
			fmt.Fprintln(&out, "  ", want[0])
			want, got = want[1:], got[1:]
		case len(got) == 0 || len(want) > 0 && strings.HasPrefix(want[0], "|"):
			fmt.Fprintln(&out, " -", want[0])
			want = want[1:]
		default:
			fmt.Fprintln(&out, " +", got[0])
			got = got[1:]
		}
	}
	return out.String()
}
