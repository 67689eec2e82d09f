package transport

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestNextEpochGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "epoch")
	last := uint64(0)
	for range 3 {
		next, err := NextEpoch(path)
		if err != nil || next <= last {
			t.Fatalf("after %d: %d, %v", last, next, err)
		}
		last = next
	}
	// The clock was set back by two centuries.
	last = math.MaxInt64
	if err := os.WriteFile(path, []byte(strconv.FormatUint(last, 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if next, err := NextEpoch(path); err != nil || next != last+1 {
		t.Errorf("got %d, %v, want %d", next, err, last+1)
	}
	if names := must(os.ReadDir(filepath.Dir(path))); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestNextEpochRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "epoch")
	if err := os.WriteFile(path, []byte("soon"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NextEpoch(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if got := must(os.ReadFile(path)); string(got) != "soon" {
		t.Errorf("the file holds %q", got)
	}
	if _, err := NextEpoch(filepath.Join(path, "epoch")); err == nil {
		t.Error("no error where there is no folder")
	}
}
