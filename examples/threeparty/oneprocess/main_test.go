package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	first, second := slices.Index(lines, "carol gets bar first"), slices.Index(lines, "carol gets bar second")
	if first < 0 || second < first {
		t.Errorf("want the first bar before the second:\n%s", out.String())
	}
	if len(lines) != 4 || !slices.Contains(lines, "carol gets creek water") || lines[3] != "alice gets water of first" {
		t.Errorf("want creek to reach Carol, and then its result:\n%s", out.String())
	}
}
