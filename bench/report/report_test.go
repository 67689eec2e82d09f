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
	{Bench: "scale", System: "vatwork", Transport: "none", Mode: "idle", Case: "an object", Bytes: 1234.4},
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
