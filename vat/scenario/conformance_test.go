package scenario

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The table of what is tested names every scenario file, and none that is not there.
func TestConformanceTable(t *testing.T) {
	table, err := os.ReadFile("../CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z0-9_]+\\.txt)`").FindAllSubmatch(table, -1) {
		named[string(m[1])] = true
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if !named[name] {
			t.Errorf("CONFORMANCE.md does not name %s", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("CONFORMANCE.md names %s, which is not there", name)
	}
}
