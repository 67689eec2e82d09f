package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vatwork/vatwork/bench/suite"
)

func TestBench(t *testing.T) {
	folder, out := t.TempDir(), t.TempDir()
	page, rows, plots := filepath.Join(out, "README.md"), filepath.Join(out, "rows.json"), filepath.Join(out, "plots")
	if err := os.WriteFile(page, []byte("head\n<!-- results -->\n<!-- end of results -->\ntail\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, stdout, stderr := vatnode(t, folder, "bench", "shortened", "--rounds", "1", "--for", "1ms",
		"--json", rows, "--plot", plots, "--readme", page)
	if code := exitCode(t, cmd.Run()); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	wantEmpty(t, folder)
	wantNoProcess(t, folder)
	var got []suite.Row
	if err := json.Unmarshal(read(t, rows), &got); err != nil || len(got) == 0 {
		t.Fatalf("%d rows: %v", len(got), err)
	}
	if n := strings.Count(stdout.String(), "\n"); n != len(got)+2 {
		t.Errorf("%d lines printed for %d rows, a heading and a head:\n%s", n, len(got), stdout)
	}
	if !bytes.Contains(read(t, filepath.Join(plots, "shortened.svg")), []byte("<svg")) {
		t.Error("no plot")
	}
	if text := string(read(t, page)); !strings.Contains(text, "![shortened](plots/shortened.svg)") || !strings.HasSuffix(text, "tail\n") {
		t.Errorf("the page:\n%s", text)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBenchWrongly(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bench"}, "accepts 1 arg"},
		{[]string{"bench", "nonesuch"}, `no bench is called "nonesuch"; there are calls, `},
		{[]string{"bench", "local", "--rounds", "0"}, "--rounds and --many must be 1 or more"},
		{[]string{"bench", "local", "--for", "-1s"}, "--for not below 0"},
		{[]string{"bench", "local", "--only", "x64["}, "--only: error parsing regexp"},
		{[]string{"bench", "local", "--only", "nonesuch"}, `--only: nothing in local matches "nonesuch"`},
		{[]string{"bench", "local", "--readme", "/nowhere/page.md"}, "/nowhere/page.md"},
		{[]string{"bench", "local", "--plot", "/dev/null/plots"}, "/dev/null"},
	} {
		cmd, _, stderr := vatnode(t, t.TempDir(), c.args...)
		if code := exitCode(t, cmd.Run()); code != exitUsage || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%q: exit code %d, want %d; said %q, want %q in it", c.args, code, exitUsage, stderr, c.want)
		}
	}
}
