package soak

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const faultsFile = "../../../../vat/FAULTS.md"

// A faultTable says what came of each call, by phase and fault and by the name of the call in the table.
type faultTable map[string]map[string]string

var (
	tableRow = regexp.MustCompile(`(?m)^\| ([a-z ]+) \| ([a-z–> ]+) \| (.*) \| [^|]* \|$`)
	rowFate  = regexp.MustCompile(`((?:every call|the call|creek|bar|a later call)(?:, (?:creek|bar|a later call))*): (returned|“[^”]*”)`)
)

// calledInTable are the names of the calls in the tables.
var calledInTable = map[string]string{"tail": "the call", "wait": "the call", "creek": "creek", "second": "bar", "later": "a later call"}

// place is where its table begins and ends.
func (m matrix) place() (begin, end string) {
	return "<!-- " + m.processes + " -->\n", "<!-- end of " + m.processes + " -->"
}

// readFaults reads the table of that name in FAULTS.md.
func readFaults(t *testing.T, name string) faultTable {
	t.Helper()
	text, err := os.ReadFile(faultsFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- "+name+" -->")
	rows, _, found := strings.Cut(rest, "<!-- end of "+name+" -->")
	if !found {
		t.Fatalf("%s has no table %s", faultsFile, name)
	}
	all := faultTable{}
	for _, row := range tableRow.FindAllStringSubmatch(rows, -1) {
		all.add(row[1]+"/"+strings.ReplaceAll(row[2], ">", "–"), row[3])
	}
	if want := len(matrices[0].phases) * len(processFaults); len(all) != want+1 && !*updateFaults { // and the head
		t.Fatalf("%d rows in the table %s, want %d", len(all)-1, name, want)
	}
	return all
}

func (all faultTable) add(row, saw string) {
	all[row] = map[string]string{}
	for _, f := range rowFate.FindAllStringSubmatch(saw, -1) {
		for call := range strings.SplitSeq(f[1], ", ") {
			all[row][call] = f[2]
		}
	}
}

// fate is what came of a call, which may be one of every call.
func (all faultTable) fate(row, call string) string {
	if f, ok := all[row]["every call"]; ok {
		return f
	}
	return all[row][call]
}

// compare holds a row against the tables. A call that has failed says what broke: the link, by a vat at its end, or a
// limit, for these are short here. One that has returned in both tables must do so, where the fault is in nobody's way:
// the last phase, when all is done, or no vat and no link was struck. Elsewhere it depends on what had got through.
func (f *faultRun) compare(memory, processes faultTable, saw string) {
	row := f.phase + "/" + f.fault
	now := faultTable{}
	now.add(row, saw)
	for _, call := range []string{"the call", "creek", "bar", "a later call"} {
		got := now.fate(row, call)
		verb, _, _ := strings.Cut(f.fault, " ")
		sure := (f.phase == f.phases[len(f.phases)-1] || verb == "the" || verb == "bob") &&
			memory.fate(row, call) == "returned" && processes.fate(row, call) == "returned"
		switch {
		case got == "" || got == "returned" || strings.Contains(got, "Limits."):
		case sure:
			f.t.Errorf("%s: %s has returned in both tables, and now: %s", row, call, got)
		case !f.blames(got):
			f.t.Errorf("%s: %s does not say what broke: %s", row, call, got)
		}
	}
}

// blames says whether an error names what the fault has struck.
func (f *faultRun) blames(err string) bool {
	verb, what, _ := strings.Cut(f.fault, " ")
	switch verb {
	case "alice":
		return strings.Contains(err, "canceled")
	case "bob":
		return strings.Contains(err, "no tail call")
	}
	for name := range strings.SplitSeq(what, "–") {
		if verb != "the" && strings.Contains(err, "connection to "+name) {
			return true
		}
	}
	return false
}

// TestTablesAgree: both tables of FAULTS.md have each row, and whatever failed there says what broke. They need not be the
// same: a fault strikes between other messages in processes, so a call may have got through in one of them alone; but not
// to a vat that was dead before it was made.
func TestTablesAgree(t *testing.T) {
	for _, m := range matrices {
		memory, processes := readFaults(t, m.memory), readFaults(t, m.processes)
		for row := range processes {
			phase, fault, _ := strings.Cut(row, "/")
			if phase == "phase" {
				continue
			}
			f := &faultRun{t: t, matrix: m, phase: phase, fault: fault}
			for _, table := range []faultTable{memory, processes} {
				for call, got := range table[row] {
					if got != "returned" && !strings.Contains(got, "Limits.") && !f.blames(got) {
						t.Errorf("%s: %s does not say what broke: %s", row, call, got)
					}
				}
			}
			if _, has := memory[row]; !has {
				t.Errorf("%s is not in the table %s", row, m.memory)
			}
			if strings.HasPrefix(fault, "kill carol") && memory.fate(row, "a later call") == "returned" != (processes.fate(row, "a later call") == "returned") {
				t.Errorf("%s: a later call returned in one table alone", row)
			}
		}
	}
}

// The comparison sees a call that fails where it returned, and an error that blames nobody.
func TestCompareFaults(t *testing.T) {
	for _, m := range matrices {
		memory, processes := readFaults(t, m.memory), readFaults(t, m.processes)
		try := func(phase, saw string, wrong bool) {
			sub := &silent{TB: t}
			f := &faultRun{t: sub, matrix: m, phase: phase, fault: "kill bob"}
			f.compare(memory, processes, saw)
			if sub.failed != wrong {
				t.Errorf("%s: %q: found wrong %v, want %v", phase, saw, sub.failed, wrong)
			}
		}
		done := m.phases[len(m.phases)-1]
		try(done, "every call: returned", false)
		try(done, "creek: returned; a later call: “connection to bob lost: EOF”", true)
		try(done, "creek: returned; a later call: “no answer: Limits.Handoff”", false)
		try(m.phases[2], "creek: “connection to bob lost: EOF”", false)
		try(m.phases[2], "creek: “it failed”", true)
	}
}

// silent notes failures.
type silent struct {
	testing.TB
	failed bool
}

func (s *silent) Errorf(string, ...any) { s.failed = true }
