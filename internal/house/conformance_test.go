package house

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

const conformance = "vat/CONFORMANCE.md"

var (
	namedTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)(…?)`")
	ofPackage = regexp.MustCompile(`^\s*([a-z/]+): `)
	namedFile = regexp.MustCompile("`[a-z0-9_]+\\.txt`")
)

// TestConformanceNamesTests holds the table of what is tested to the tests that there are: every Go test that it
// names exists in its package, and every row names one, or a scenario file, or says that there is none.
func TestConformanceNamesTests(t *testing.T) {
	tests := testsByPackage(sources(t))
	for _, wrong := range checkTable(read(t, repository(t), conformance), tests) {
		t.Error(wrong)
	}
}

func TestConformanceHasTeeth(t *testing.T) {
	tests := map[string][]string{"vat/scenario": {"TestThere"}, "vat": {"TestVat", "TestVatToo"}}
	for row, want := range map[string]int{
		"| x | `TestThere`, `a_file.txt` |":        0,
		"| x | `TestGone` |":                       1,
		"| x | vat: `TestVat`; not there: y |":     0,
		"| x | vat: `TestThere` |":                 1,
		"| x | `TestThere`; vat: `TestV…` |":       0,
		"| x | vat: `TestNothing…` |":              1,
		"| x | elsewhere: `TestThere` |":           1,
		"| x | |":                                  1,
		"| x | by looking at it |":                 1,
		"| x | not there: nobody has written it |": 0,
	} {
		if got := checkTable("| case | tests |\n| --- | --- |\n"+row+"\n", tests); len(got) != want {
			t.Errorf("%s: found %q, want %d", row, got, want)
		}
	}
}

// checkTable says what is wrong with the rows of a table of tests. A cell is of parts that end with a semicolon; a
// part may begin with the package that its tests are in, else they are in vat/scenario.
func checkTable(table string, tests map[string][]string) (wrong []string) {
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 4 || cells[1] == " case " || strings.HasPrefix(cells[1], " ---") {
			continue
		}
		named := strings.Contains(cells[2], "not there") || namedFile.MatchString(cells[2])
		for part := range strings.SplitSeq(cells[2], ";") {
			pkg := "vat/scenario"
			if m := ofPackage.FindStringSubmatch(part); m != nil {
				pkg = m[1]
			}
			for _, m := range namedTest.FindAllStringSubmatch(part, -1) {
				named = true
				if !hasTest(tests[pkg], m[1], m[2] != "") {
					wrong = append(wrong, fmt.Sprintf("%s names %s%s, which %s has not", conformance, m[1], m[2], pkg))
				}
			}
		}
		if !named {
			wrong = append(wrong, fmt.Sprintf("%s has no test for%s", conformance, cells[1]))
		}
	}
	return wrong
}

func hasTest(tests []string, name string, prefix bool) bool {
	for _, x := range tests {
		if x == name || prefix && strings.HasPrefix(x, name) {
			return true
		}
	}
	return false
}

// testsByPackage lists the tests and fuzz targets by folder.
func testsByPackage(all []source) map[string][]string {
	found := map[string][]string{}
	for _, s := range all {
		if !s.test() {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil &&
				(strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				found[s.dir()] = append(found[s.dir()], f.Name.Name)
			}
		}
	}
	return found
}
