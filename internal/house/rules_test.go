package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// mayImport is the direction of the arrows: what each part of the house may import of the others. A part is
// the first folder of a path.
var mayImport = map[string][]string{
	"actors":    {},
	"transport": {"actors"},
	"vat":       {"transport", "actors"},
	"cluster":   {"transport", "actors"},
	"examples":  {"vat", "cluster", "transport", "actors"},
	"bench":     {"vat", "cluster", "transport", "actors", "examples"},
	"cmd":       {"vat", "cluster", "transport", "actors", "examples", "bench"},
	"internal":  {},
}

// arrows checks the imports of a file against mayImport. Tests may look further, but nothing imports cmd.
func arrows(s source) []string {
	part, _, _ := strings.Cut(s.path, "/")
	allowed, known := mayImport[part]
	if !known {
		return []string{fmt.Sprintf("%s is in no part of the house: see mayImport", s.path)}
	}
	var wrong []string
	for _, p := range s.imports() {
		rest, ours := strings.CutPrefix(p, module+"/")
		if !ours {
			continue
		}
		to, _, _ := strings.Cut(rest, "/")
		if to == part || (s.test() && to != "cmd") || slices.Contains(allowed, to) {
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s imports %s: %s may not use %s", s.path, p, part, to))
	}
	return wrong
}

// worldly are the imports by which time, chance, the network and the machine come in, each with the short
// name that mayTouch knows it by.
var worldly = map[string]string{
	"time":          "time",
	"math/rand":     "chance",
	"math/rand/v2":  "chance",
	"crypto/rand":   "chance",
	"net":           "net",
	"crypto/tls":    "net",
	"os":            "os",
	"os/signal":     "os",
	"runtime":       "runtime",
	"runtime/debug": "runtime",
	"github.com/asynkron/protoactor-go/actor": "actor",
}

// mayTouch lists the files of package vat that are the shell of the protocol, and of each what it touches of
// the world: the names of worldly, and "goroutine" for go statements, channels and select. Every other file of
// the package is protocol, and touches nothing of it.
var mayTouch = map[string][]string{
	"adopt.go":          {"goroutine"},                // waits for a promise of go-capnp's
	"limits.go":         {"time"},                     // durations
	"call_context.go":   {"goroutine"},                // what package context wants
	"call_watch.go":     {"goroutine"},                // contexts by their channels
	"completion.go":     {"time"},                     // deadlines
	"cells.go":          {"actor"},                    // table entries as actors
	"config.go":         {"time"},                     // durations of limits
	"deadlines.go":      {"time"},                     // of what waits for a third vat
	"foreign.go":        {"goroutine"},                // code of users, which may block
	"guests.go":         {"net", "time", "goroutine"}, // connections of level 1 peers
	"idle.go":           {"time", "goroutine"},        // how long a session rests
	"method_context.go": {"goroutine", "time"},        // what package context wants
	"object_host.go":    {"actor"},                    // the actor in front of a hook
	"promise.go":        {"actor"},                    // the actor around its state
	"provisions.go":     {"actor", "time"},            // the actor around the pure type, and its timer
	"session_actor.go":  {"actor", "time", "runtime", "goroutine"},
	"sessions.go":       {"actor", "net", "time", "goroutine"},
	"shutdown.go":       {"goroutine"}, // waits for the last call
	"spawn.go":          {"goroutine"}, // what a vat does when it fails
	"suspect.go":        {"time"},      // the time for a sign of life
	"tree.go":           {"goroutine"}, // waits for the turn that answers
	"twoparty.go":       {"net", "time", "goroutine"},
	"unreached.go":      {"time"}, // how long a peer is not dialed
	"vat.go":            {"actor", "time", "chance", "goroutine"},
	"watch.go":          {"goroutine"}, // waits for what breaks
}

// purity checks a file of package vat against mayTouch.
func purity(s source) []string {
	if s.dir() != "vat" || s.test() {
		return nil
	}
	allowed := mayTouch[s.base()]
	var wrong []string
	for _, p := range s.imports() {
		if what, ok := worldly[p]; ok && !slices.Contains(allowed, what) {
			wrong = append(wrong, fmt.Sprintf("%s imports %s: the protocol is pure, see mayTouch", s.path, p))
		}
	}
	if slices.Contains(allowed, "goroutine") {
		return wrong
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
			wrong = append(wrong, fmt.Sprintf("%v has a goroutine or a channel: the protocol is pure, see mayTouch", s.set.Position(n.Pos())))
		}
		return true
	})
	return wrong
}

// A file of code is at most maxFile lines long, a function at most maxFunc. Tests and generated code may be
// longer.
const (
	maxFile = 450
	maxFunc = 80
)

// sizes checks the length of a file and of its functions.
func sizes(s source) []string {
	if s.test() || s.generated {
		return nil
	}
	var wrong []string
	if s.lines > maxFile {
		wrong = append(wrong, fmt.Sprintf("%s has %d lines, more than %d", s.path, s.lines, maxFile))
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunc {
			wrong = append(wrong, fmt.Sprintf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, n, maxFunc))
		}
	}
	return wrong
}

func (s source) line(p token.Pos) int { return s.set.Position(p).Line }

// docs checks that a package, given by its files, has one package comment, in doc.go where it is a library.
func docs(dir string, files []source) []string {
	var in []source
	for _, s := range files {
		if s.file.Doc != nil && !s.generated && !strings.HasPrefix(s.file.Doc.Text(), "Code generated") {
			in = append(in, s)
		}
	}
	if len(in) != 1 {
		return []string{fmt.Sprintf("%s has %d package comments, want one", dir, len(in))}
	}
	name := in[0].file.Name.Name
	want, text := "Package "+name+" ", in[0].file.Doc.Text()
	if name == "main" {
		want = "Command "
	} else if library := in[0].base() == "doc.go"; !library && !in[0].test() {
		return []string{fmt.Sprintf("%s: the package comment belongs into doc.go", in[0].path)}
	}
	if !strings.HasPrefix(text, want) {
		return []string{fmt.Sprintf("%s: the package comment begins with %.20q, want %q", in[0].path, text, want)}
	}
	return nil
}

// quiet lists the parts of the house that are libraries: they log to the logger they are given and never
// print.
var quiet = []string{"actors", "transport", "vat", "cluster"}

// prints checks that a library does not print.
func prints(s source) []string {
	part, _, _ := strings.Cut(s.path, "/")
	if s.test() || !slices.Contains(quiet, part) {
		return nil
	}
	var wrong []string
	say := func(n ast.Node, what string) {
		wrong = append(wrong, fmt.Sprintf("%v: a library prints with %s", s.set.Position(n.Pos()), what))
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.Ident:
			if f.Name == "print" || f.Name == "println" {
				say(n, f.Name)
			}
		case *ast.SelectorExpr:
			x, ok := f.X.(*ast.Ident)
			if ok && (x.Name == "fmt" && strings.HasPrefix(f.Sel.Name, "Print") ||
				x.Name == "log" && f.Sel.Name != "New" || x.Name == "os" && f.Sel.Name == "Exit") {
				say(n, x.Name+"."+f.Sel.Name)
			}
		}
		return true
	})
	return wrong
}
