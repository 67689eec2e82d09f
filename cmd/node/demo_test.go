package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// demo plays the scenario in processes of its own, and returns the trace and what was printed.
func demo(t *testing.T, flags ...string) (text []byte, stdout, stderr string) {
	t.Helper()
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "t.jsonl")
	cmd, out, errs := vatnode(t, folder, append([]string{"demo", "--trace", file}, flags...)...)
	code := exitCode(t, cmd.Run())
	wantEmpty(t, folder)
	wantNoProcess(t, folder)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if code != exitOK {
		t.Fatalf("exit code %d\n%s\n%s\n%s", code, out, errs, text)
	}
	return text, out.String(), errs.String()
}

func TestDemo(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("held=%v", held), func(t *testing.T) {
			var flags []string
			if held {
				flags = []string{"--hold", "300ms"}
			}
			text, stdout, stderr := demo(t, flags...)
			records, end, err := readTrace(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range checkTable(records, held) {
				t.Error(problem)
			}
			checkVerdict(t, end)
			if lines := strings.Count(stdout, " -> "); lines != len(records)+1 || !strings.Contains(stdout, "all points hold\n") {
				t.Errorf("%d lines printed of %d messages, and a heading:\n%s", lines, len(records), stdout)
			}
			if stderr != "" {
				t.Errorf("on standard error: %s", stderr)
			}
			if t.Failed() {
				t.Logf("%s\n%s", stdout, text)
			}
			checkTheChecker(t, records, held)
		})
	}
}

func checkVerdict(t *testing.T, end ending) {
	t.Helper()
	v := end.Verdict
	if v == nil || !v.OK || v.CreekResult != "water of first" || v.ThroughBob == nil || *v.ThroughBob != 0 {
		t.Fatalf("verdict: %+v", v)
	}
	if want := []string{"bar first", "bar second", "creek water"}; !slices.Equal(v.Deliveries, want) {
		t.Errorf("deliveries %q, want %q", v.Deliveries, want)
	}
	if names := slices.Sorted(maps.Keys(v.Tables)); !slices.Equal(names, []string{"alice", "bob", "carol"}) {
		t.Fatalf("tables of %q", names)
	}
	for name, tables := range v.Tables {
		for _, kind := range []string{"questions", "answers", "imports", "exports", "embargoes", "provisions", "promises"} {
			if n, ok := tables[kind]; !ok || n != 0 {
				t.Errorf("%s: %d %s, said: %v", name, n, kind, ok)
			}
		}
	}
}

// checkTheChecker makes sure that the table's reader finds faults: without each single message that the
// table demands, and with any row before what it follows.
func checkTheChecker(t *testing.T, records []record, held bool) {
	t.Helper()
	for i, r := range records {
		if r.Msg == "bootstrap" || r.Context == "" && r.Msg != "accept" && r.Msg != "provide" && r.Msg != "resolve" {
			continue
		}
		without := slices.Delete(slices.Clone(records), i, i+1)
		if len(checkTable(without, held)) == 0 {
			t.Errorf("nobody misses line %d, %s from %s to %s", i+1, r.Msg, r.From, r.To)
		}
		last := append(without, r)
		if len(checkTable(last, held)) == 0 {
			t.Errorf("nobody minds line %d, %s from %s to %s, at the end", i+1, r.Msg, r.From, r.To)
		}
	}
}

// The same messages in the same order, each time; only nonces and times differ.
func TestDemoIsTheSameEachTime(t *testing.T) {
	tell := func() []string {
		text, _, _ := demo(t)
		records, _, err := readTrace(text)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, r := range records {
			s := fmt.Sprint(hop(r), " ", r.Msg, " ", r.Method, " ", r.Which)
			if r.ID != nil {
				s += fmt.Sprint(" ", *r.ID)
			}
			told = append(told, s)
		}
		return told
	}
	first := tell()
	for range 2 {
		if again := tell(); !slices.Equal(first, again) {
			t.Errorf("first\n%s\nthen\n%s", strings.Join(first, "\n"), strings.Join(again, "\n"))
		}
	}
}

func TestDemoMermaid(t *testing.T) {
	text, stdout, stderr := demo(t, "--mermaid")
	records, _, err := readTrace(text)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if lines[0] != "sequenceDiagram" || strings.Count(stdout, "participant ") != 3 || len(lines) != 4+len(records) {
		t.Errorf("not a diagram of %d messages and nothing else:\n%s", len(records), stdout)
	}
	for _, l := range lines[4:] {
		if !strings.Contains(l, "->>") || strings.ContainsAny(l, ";\x1b") {
			t.Errorf("not a message: %q", l)
		}
	}
	if !strings.Contains(stderr, "all points hold") {
		t.Errorf("no verdict on standard error: %s", stderr)
	}
}

// wantNoProcess looks for processes of a command that kept its files in folder.
func wantNoProcess(t *testing.T, folder string) {
	t.Helper()
	for _, pid := range processes(t, folder) {
		t.Errorf("process %s is left", pid)
	}
}

// processes are the ids of the processes of a command that kept its files in folder. Only Linux tells.
func processes(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err == nil && bytes.Contains(env, []byte(asCommand+"="+folder+"\x00")) {
			found = append(found, filepath.Base(filepath.Dir(file)))
		}
	}
	return found
}
