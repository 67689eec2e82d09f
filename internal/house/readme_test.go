package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are the texts that are held to what they show.
var documents = []string{"README.md", "CONTRIBUTING.md"}

var (
	// A quoted block of code: the file, and the function of it if not all of it is shown.
	quoted = regexp.MustCompile("(?s)<!-- source: ([^ ]+)(?: ([A-Za-z]+))? -->\n```[a-z]*\n(.*?)\n```")
	fenced = regexp.MustCompile("(?s)```.*?\n```")
	link   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
)

// TestDocumentsQuoteTheSource holds code in the documents to the source it comes from, which tests compile
// and run.
func TestDocumentsQuoteTheSource(t *testing.T) {
	root := repository(t)
	found := 0
	for _, name := range documents {
		for _, m := range quoted.FindAllStringSubmatch(read(t, root, name), -1) {
			found++
			src := read(t, root, m[1])
			if m[2] != "" {
				var err error
				if src, err = function(src, m[2]); err != nil {
					t.Errorf("%s quotes %s: %v", name, m[1], err)
				}
			}
			if strings.TrimSpace(src) != strings.TrimSpace(m[3]) {
				t.Errorf("%s quotes %s %s as it is no longer: copy it anew", name, m[1], m[2])
			}
		}
	}
	if found == 0 {
		t.Error("no document quotes any source")
	}
}

// TestDocumentsLinkToWhatIsThere checks links to files.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	root := repository(t)
	for _, name := range documents {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, root, name), ""), -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// function is the text of the function name in src, with its comment.
func function(src, name string) (string, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "", src, parser.ParseComments)
	if err != nil {
		return "", err
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == name {
			from := fn.Pos()
			if fn.Doc != nil {
				from = fn.Doc.Pos()
			}
			return src[set.Position(from).Offset:set.Position(fn.End()).Offset], nil
		}
	}
	return "", fmt.Errorf("it has no function %s", name)
}
