package scenario

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A script is a scenario file: its lines, and the directives among them.
type script struct {
	name  string
	lines []string
}

// A directive is a line that is no comment, not empty and not an observation.
type directive struct {
	line int // from 1
	word string
	args []string
}

func readScript(t *testing.T, name string) *script {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return &script{name, strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")}
}

// with is s with each $LINK replaced.
func (s *script) with(l string) *script {
	lines := make([]string, len(s.lines))
	for i, line := range s.lines {
		lines[i] = strings.ReplaceAll(line, "$LINK", l)
	}
	return &script{s.name, lines}
}

// variants are the links with which the script is to be run in turn, named in a line "each ...": nil if
// there is none. Such a script has no observed lines.
func (s *script) variants() []string {
	for i := range s.lines {
		if d, ok := s.directive(i); ok && d.word == "each" {
			return d.args
		}
	}
	return nil
}

// has says whether there is a directive of that word.
func (s *script) has(word string) bool {
	for i := range s.lines {
		if d, ok := s.directive(i); ok && d.word == word {
			return true
		}
	}
	return false
}

// directive reads line i, from 0.
func (s *script) directive(i int) (directive, bool) {
	line, _, _ := strings.Cut(s.lines[i], "#")
	words := strings.Fields(line)
	if len(words) == 0 || words[0] == "|" {
		return directive{}, false
	}
	return directive{i + 1, words[0], words[1:]}, true
}

func (d directive) String() string { return d.word + " " + strings.Join(d.args, " ") }

func parseLink(s string) (link, error) {
	from, to, ok := strings.Cut(s, ">")
	if !ok {
		return link{}, fmt.Errorf("%q is no link: want from>to", s)
	}
	return link{from, to}, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
