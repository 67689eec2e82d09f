package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vatwork/vatwork/bench/suite"
)

var rows = []suite.Row{
	{Bench: "calls", System: "vatwork", Transport: "tcp", Mode: "serial", Processes: 2, Micros: 30, Least: 29, Most: 31.5, P50: 28, P99: 90, Rate: 33333, Allocs: 24, CPU: 12, Ratios: map[string]float64{"raw": 2.4}},
	{Bench: "calls", System: "raw", Transport: "tcp", Mode: "serial", Processes: 2, Micros: 12.5, Ratios: map[string]float64{"vatwork": 0.4}},
	{Bench: "calls", System: "grpc", Transport: "tcp", Mode: "serial", Processes: 2, Error: "it broke\nat line 3"},
	{Bench: "scale", System: "vatwork", Transport: "none", Mode: "idle", Case: "an object", Processes: 1, Bytes: 1234.4},
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := Text(&b, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"calls: a call with 16 bytes", "tcp, serial, 2 processes  vatwork  30.0", "29.0–31.5", "2.40", "failed: it broke\n", "an object, idle", "1234 bytes"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestMarkdown(t *testing.T) {
	page := "# Head\n" + beginMark + "\nold\n" + endMark + "\ntail\n"
	got, err := Markdown(page, rows, "a machine", "plots")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "old") || !strings.HasPrefix(got, "# Head\n") || !strings.HasSuffix(got, endMark+"\ntail\n") ||
		!strings.Contains(got, "Measured on a machine.") || !strings.Contains(got, "![calls](plots/calls.svg)") || strings.Contains(got, "scale.svg") {
		t.Errorf("%s", got)
	}
	if want := "### Targets\n\n| what | must reach | this run |  |\n| --- | --- | --- | --- |\n| an idle object | at most 1500 bytes | 1234 bytes | reached |\n"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
	again, err := Markdown(got, rows, "a machine", "plots")
	if err != nil || again != got {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if _, err := Markdown("no marks", rows, "", ""); err == nil {
		t.Error("a page without marks was written")
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, rows); err != nil {
		t.Fatal(err)
	}
	var back []suite.Row
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back) != len(rows) || back[0].Ratios["raw"] != 2.4 {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestPlots(t *testing.T) {
	folder := t.TempDir()
	if err := Plots(folder, rows); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(folder, "calls.svg"))
	if err != nil || !bytes.Contains(svg, []byte("<svg")) || !bytes.Contains(svg, []byte("serial, 2 processes, vatwork")) {
		t.Errorf("%v: %.300s", err, svg)
	}
	if files, _ := os.ReadDir(folder); len(files) != 1 {
		t.Errorf("%d files; what was only weighed has no picture", len(files))
	}
	if err := Plots(filepath.Join(folder, "none"), rows); err == nil {
		t.Error("plots in a folder that is not there")
	}
}

func TestTargets(t *testing.T) {
	row := func(bench, system, mode, what string, processes int, micros float64) suite.Row {
		return suite.Row{Bench: bench, System: system, Transport: "tcp", Mode: mode, Case: what, Processes: processes, Micros: micros, Rate: 1e6 / micros, P50: 10, P99: 60}
	}
	got := Targets([]suite.Row{
		row("calls", "vatwork", "x64", "", 2, 10), row("calls", "go-capnp", "x64", "", 2, 45), row("calls", "grpc", "x64", "", 2, 20),
		row("scale", "vatwork", "x64", "a call, 1 exports", 2, 10), row("scale", "vatwork", "x64", "a call, 7 exports", 2, 99),
		row("scale", "vatwork", "x64", "a call, 9 exports", 2, 13), row("scale", "vatwork", "serial", "a call, 1 exports", 2, 10),
	})
	var lines []string
	for _, line := range got[1:] {
		lines = append(lines, strings.Join(line, "; "))
	}
	want := []string{
		"rate with 64 outstanding, 2 processes; at least 4 × go-capnp; 4.5 × go-capnp; reached",
		"rate with 64 outstanding, 2 processes; at least 2.5 × gRPC; 2 × gRPC; missed",
		"99th percentile with 64 outstanding, 2 processes; at most 5 × the median; 6 × the median; missed",
		"time of a call with the most exports, 64 outstanding; at most 1.2 × with one; 1.3 × with one; missed",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if Targets(nil) != nil {
		t.Error("a table of nothing")
	}
}
