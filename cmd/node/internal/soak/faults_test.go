package soak

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	allFaults    = flag.Bool("faults", false, "strike with every fault in every phase, not with one in each")
	updateFaults = flag.Bool("faults.update", false, "write the table of FAULTS.md; with -faults")
)

// stallFor is longer than a handoff may take in these processes.
const stallFor = 4 * time.Second

// A matrix is a table of faults: one of FAULTS.md in memory, and one of processes that it is compared with.
type matrix struct {
	memory, processes string
	phases            []string
	reach             func(*faultRun)
	later             func(*faultRun)
	order             []ran
}

// ran is what carol's objects note of a call, "" being one that was made to get there.
type ran struct{ call, as string }

var matrices = []matrix{
	{"memory", "processes", []string{"fresh", "promise", "resolving", "accepting", "lifting", "after"},
		(*faultRun).reach, (*faultRun).later, []ran{{"", "bar first"}, {"second", "bar second"}, {"later", "bar later"}}},
	{"forwarded", "processes, forwarded", []string{"forwarded", "awaited", "announced", "running", "kept back", "picked up"},
		(*faultRun).reachForwarded, (*faultRun).laterForwarded,
		[]ran{{"tail", "bar tail"}, {"wait", "bar wait"}, {"creek", "creek creek"}, {"later", "creek later"}}},
}

var processFaults = []string{
	"kill alice", "kill bob", "kill carol",
	"cut alice–bob", "cut bob–carol", "cut alice–carol",
	"stall alice", "stall bob", "stall carol",
	"the object panics", "alice cancels", "bob drops his reference",
}

// TestFaults is the fault matrix on three processes over TCP, through proxies of the test's.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three processes for each fault")
	}
	for _, m := range matrices {
		t.Run(m.memory, func(t *testing.T) { m.strike(t) })
	}
}

// strike has each fault happen in each phase, or two in each.
func (m matrix) strike(t *testing.T) {
	var rows []string
	memory, processes := readFaults(t, m.memory), readFaults(t, m.processes)
	for i, phase := range m.phases {
		for j, fault := range processFaults {
			if !*allFaults && j%len(m.phases) != i {
				continue
			}
			t.Run(phase+"/"+fault, func(t *testing.T) {
				f := newFaultRun(t, m, phase, fault)
				row, saw := f.row()
				rows = append(rows, row)
				t.Log(row)
				f.compare(memory, processes, saw)
			})
		}
	}
	if *updateFaults && !t.Failed() && len(rows) == len(m.phases)*len(processFaults) {
		m.write(t, rows)
	}
}

func (m matrix) write(t *testing.T, rows []string) {
	text, err := os.ReadFile(faultsFile)
	if err != nil {
		t.Fatal(err)
	}
	begin, stop := m.place()
	before, rest, found := strings.Cut(string(text), begin)
	_, after, end := strings.Cut(rest, stop)
	if !found || !end {
		t.Fatalf("%s has no place for the table", faultsFile)
	}
	table := fmt.Sprintf("On %d cores (%s/%s, %s).\n\n| phase | fault | what alice saw | known after |\n| --- | --- | --- | --- |\n%s\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), strings.Join(rows, "\n"))
	if err := os.WriteFile(faultsFile, []byte(before+begin+table+stop+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// faultRun is one row.
type faultRun struct {
	*run
	matrix
	t            testing.TB
	phase, fault string
	gone         string
	calls        []string
	struck       time.Time
}

func newFaultRun(t *testing.T, m matrix, phase, fault string) *faultRun {
	r := &run{Options: Options{Command: sceneCommand}, parties: map[string]*process{}, ways: map[[2]string]*proxy{}}
	t.Cleanup(r.close)
	if err := r.open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	return &faultRun{run: r, matrix: m, t: t, phase: phase, fault: fault}
}

// tell has a process take a step, unless it is gone.
func (f *faultRun) tell(who string, s step) *outcome {
	f.t.Helper()
	if who == f.gone {
		return nil
	}
	var r said
	if err := f.parties[who].ask(s, &r); err != nil || r.Err != "" {
		f.t.Fatalf("%s: %+v: %v %s", who, s, err, r.Err)
	}
	return r.Outcome
}

func (f *faultRun) do(who, what string, name ...string) {
	f.t.Helper()
	f.tell(who, step{Do: what, Name: strings.Join(name, " ")})
}

func (f *faultRun) await(who, what string, n int) {
	f.t.Helper()
	f.tell(who, step{Do: "await", Name: what, N: n})
}

// call has alice make a call, see scene.call.
func (f *faultRun) call(what, name string) {
	f.t.Helper()
	f.do("alice", what, name)
	f.calls = append(f.calls, name)
}

// hold stops what goes from one vat to another.
func (f *faultRun) hold(from, to string, hold bool) {
	f.ways[[2]string{from, to}].hold(onward, hold)
	f.ways[[2]string{to, from}].hold(back, hold)
}

// row is a line of the table, and what alice saw.
func (f *faultRun) row() (line, saw string) {
	f.matrix.reach(f)
	f.strike()
	f.matrix.later(f)
	line, saw = f.watch()
	f.empty()
	return line, saw
}

// reach brings the handoff to its phase.
func (f *faultRun) reach() {
	f.do("bob", "fetch", "carol")
	f.do("alice", "connect", "carol")
	if f.phase == "fresh" {
		f.do("alice", "ask", "fresh")
		return
	}
	f.do("bob", "promise")
	f.do("alice", "ask")
	switch f.phase {
	case "promise":
		f.call("creek", "creek")
		f.await("bob", "in call", 3) // foo, bar, creek
		return
	case "resolving":
		f.hold("bob", "alice", true)
		f.do("bob", "resolve")
		f.await("carol", "in provide", 1)
		f.await("carol", "in call", 2) // capBla, bar
		f.call("creek", "creek")
		f.call("bar", "second")
		f.await("bob", "in call", 4)
	case "accepting":
		f.hold("bob", "carol", true)
		f.do("bob", "resolve")
		f.await("carol", "in accept", 2)
		f.call("creek", "creek")
		f.call("bar", "second")
		f.await("carol", "in call", 3) // capBla, creek, second
	case "lifting":
		f.hold("carol", "alice", true)
		f.do("bob", "resolve")
		f.await("carol", "in disembargo", 2)
		f.call("creek", "creek")
		f.call("bar", "second")
		f.await("carol", "in call", 4)
	case "after":
		f.do("bob", "resolve")
		f.call("creek", "creek")
		f.call("bar", "second")
		f.fates()
	}
}

// later has alice make a call once the fault has struck.
func (f *faultRun) later() {
	if f.phase == "promise" {
		f.do("bob", "resolve")
		if f.fault == "bob drops his reference" {
			f.do("bob", "release")
		}
	}
	f.call("bar", "later")
}

// strike has the fault happen, and lets go on what the phase has held.
func (f *faultRun) strike() {
	f.struck = time.Now()
	verb, what, _ := strings.Cut(f.fault, " ")
	switch {
	case verb == "kill":
		f.gone = what
		f.parties[what].kill()
	case verb == "cut":
		a, b, _ := strings.Cut(what, "–")
		f.ways[[2]string{a, b}].cut()
		f.ways[[2]string{b, a}].cut()
	case verb == "stall":
		p := f.parties[what]
		if err := p.signal(syscall.SIGSTOP); err != nil {
			f.t.Fatal(err)
		}
		time.AfterFunc(stallFor, func() { _ = p.signal(syscall.SIGCONT) })
	case verb == "alice":
		f.do("alice", "cancel")
	case verb == "bob":
		if f.phase != "promise" {
			f.do("bob", "release")
		}
	default:
		f.do("bob", "panic")
	}
	for _, way := range f.ways {
		way.goOn()
	}
}

// fates asks until the fate of each call is known. It counts how often, for somebody may have stopped all processes.
func (f *faultRun) fates() map[string]fate {
	const every = 20 * time.Millisecond
	for range 4 * stallFor / every {
		if got := f.tell("alice", step{Do: "outcome"}); got == nil || len(got.Fates) == len(f.calls) {
			if got == nil {
				return nil
			}
			return got.Fates
		}
		time.Sleep(every)
	}
	for _, name := range names {
		f.t.Logf("%s: %+v", name, f.tell(name, step{Do: "outcome"}))
	}
	f.t.Fatalf("the fate of %q is not known", f.calls)
	return nil
}

// watch is the row, once all is known, and checks it against what carol's objects ran.
func (f *faultRun) watch() (line, saw string) {
	fates := f.fates()
	saw, known := "she is gone", time.Duration(0)
	if fates != nil {
		var parts []string
		same := true
		for _, c := range f.calls {
			parts = append(parts, calledInTable[c]+": "+f.named(fates[c].Text))
			known = max(known, fates[c].At.Sub(f.struck))
			same = same && fates[c].Text == fates[f.calls[0]].Text
		}
		if saw = strings.Join(parts, "; "); same {
			saw = "every call: " + f.named(fates[f.calls[0]].Text)
		}
	}
	if limit := stallFor + sceneLimits.Dial + sceneLimits.Handoff + 10*time.Second; known > limit {
		f.t.Errorf("known after %v only", known)
	}
	if got := f.tell("carol", step{Do: "outcome"}); got != nil {
		f.verify(got.Ran, fates)
	}
	return fmt.Sprintf("| %s | %s | %s | %.1f s |", f.phase, f.fault, saw, max(0, known.Seconds())), saw
}

var ports = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// named has the names of the vats for their ids, and leaves out what is different each time.
func (f *faultRun) named(text string) string {
	for name, p := range f.parties {
		text = strings.ReplaceAll(text, p.where.ID.Short(), name)
	}
	return ports.ReplaceAllString(text, "…")
}

func (f *faultRun) verify(ran []string, fates map[string]fate) {
	last := -1
	for _, x := range f.order {
		at := slices.Index(ran, x.as)
		if at >= 0 && at < last {
			f.t.Errorf("out of order: %q", ran)
		}
		last = max(last, at)
		if at < 0 && fates[x.call].Text == "returned" {
			f.t.Errorf("%s has returned, and did not run: %q", x.call, ran)
		}
	}
	if once := slices.Compact(slices.Sorted(slices.Values(ran))); len(once) != len(ran) {
		f.t.Errorf("something ran twice: %q", ran)
	}
}

// empty has who is left let go of everything, and waits for their tables to be empty.
func (f *faultRun) empty() {
	for _, name := range names {
		f.do(name, "release")
	}
	for _, name := range names {
		var got *outcome
		for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
			if got = f.tell(name, step{Do: "outcome"}); got == nil || got.Tables.Empty() {
				break
			}
		}
		if got != nil && !got.Tables.Empty() {
			f.t.Errorf("%s has entries left: %+v", name, got.Tables)
		}
	}
}
