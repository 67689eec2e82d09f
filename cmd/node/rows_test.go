package main

import (
	"testing"

	"github.com/vatwork/vatwork/vat/trace"
)

// said is a line with the row that it belongs to.
type said struct {
	row  int
	line trace.Line
}

func line(row int, from, to, msg string, id uint32, more ...func(*trace.Line)) said {
	l := trace.Line{From: from, To: to, Msg: msg, ID: &id}
	if msg == "disembargo" {
		l.ID = nil
	}
	for _, m := range more {
		m(&l)
	}
	return said{row, l}
}

func method(name string) func(*trace.Line) { return func(l *trace.Line) { l.Method = name } }
func nonce(n string) func(*trace.Line)     { return func(l *trace.Line) { l.Nonce = n } }
func onImport(id uint32) func(*trace.Line) {
	return func(l *trace.Line) { l.Target = &trace.Target{Import: &id} }
}
func toThird(nonce string) func(*trace.Line) {
	return func(l *trace.Line) { l.ResultsTo, l.Nonces = "thirdParty", []string{nonce} }
}
func onAnswer(id uint32, path ...uint16) func(*trace.Line) {
	return func(l *trace.Line) { l.Target = &trace.Target{Answer: &id, Path: path} }
}
func promises(id uint32) func(*trace.Line) {
	return func(l *trace.Line) { l.Caps = []trace.Cap{{Which: "senderPromise", ID: &id}} }
}
func hostedBy(nonce string, vine uint32) func(*trace.Line) {
	return func(l *trace.Line) {
		l.Caps = []trace.Cap{{Which: "thirdPartyHosted", Vat: "carol", Nonce: nonce, Vine: &vine}}
	}
}
func embargo(id string) func(*trace.Line) { return func(l *trace.Line) { l.Embargo = id } }
func lifting(id string) func(*trace.Line) {
	return func(l *trace.Line) { l.Context, l.Embargo = "accept", id }
}

// scenario is the table, with the ids that a real run has: small, and used again.
var scenario = []said{
	line(-2, "bob", "carol", "bootstrap", 0),
	line(-2, "carol", "bob", "return", 0),
	line(-2, "bob", "carol", "call", 1, method("capBla"), onImport(0)),
	line(-2, "carol", "bob", "return", 1),
	line(-2, "bob", "carol", "finish", 0),
	line(-2, "bob", "carol", "finish", 1),
	line(-1, "alice", "bob", "bootstrap", 0),
	line(-1, "bob", "alice", "return", 0),
	line(-1, "alice", "bob", "finish", 0),
	line(1, "alice", "bob", "call", 0, method("foo"), onImport(0)),
	line(2, "alice", "bob", "call", 1, method("bar"), onAnswer(0, 0)),
	line(3, "bob", "alice", "return", 0, promises(1)),
	line(4, "bob", "alice", "return", 1, promises(2)),
	line(5, "bob", "carol", "provide", 0, onImport(1), nonce("n0")),
	line(6, "bob", "carol", "call", 1, method("bar"), onImport(1), toThird("n1")),
	line(7, "carol", "bob", "return", 1),
	line(8, "bob", "alice", "resolve", 1, hostedBy("n0", 3)),
	line(9, "bob", "alice", "resolve", 2, hostedBy("n1", 4)),
	line(10, "alice", "carol", "accept", 0, nonce("n0"), embargo("e0")),
	line(11, "alice", "carol", "accept", 1, nonce("n1"), embargo("e1")),
	line(12, "alice", "bob", "disembargo", 0, onImport(1), lifting("e0")),
	line(12, "alice", "bob", "disembargo", 0, onImport(2), lifting("e1")),
	line(13, "carol", "bob", "return", 0),
	line(14, "alice", "carol", "call", 2, method("creek"), onAnswer(1)),
	line(14, "alice", "carol", "call", 3, method("bar"), onAnswer(0)),
	line(15, "bob", "carol", "disembargo", 0, onAnswer(0), lifting("e0")),
	line(16, "bob", "carol", "disembargo", 0, onAnswer(1), lifting("e1")),
	line(17, "carol", "alice", "return", 0),
	line(17, "carol", "alice", "return", 1),
	line(17, "carol", "alice", "return", 2),
	line(17, "carol", "alice", "return", 3),
	line(18, "alice", "carol", "finish", 2),
	line(18, "alice", "carol", "release", 2),
	line(19, "alice", "bob", "release", 2),
	line(19, "alice", "bob", "finish", 1),
	line(19, "alice", "bob", "finish", 0),
	line(20, "bob", "carol", "finish", 1),
	line(20, "bob", "carol", "finish", 0),
	line(20, "bob", "carol", "release", 1),
	line(20, "bob", "carol", "release", 0),
}

func TestTableRows(t *testing.T) {
	var lines []trace.Line
	for _, s := range scenario {
		lines = append(lines, s.line)
	}
	for i, row := range newTable(lines).rows {
		if s := scenario[i]; row != s.row {
			t.Errorf("line %d, %s from %s to %s: row %d, want %d", i, s.line.Msg, s.line.From, s.line.To, row, s.row)
		}
	}
}

// The director looks at the rows after each message: those found so far may not be mistaken, or change.
func TestTableRowsOfABeginning(t *testing.T) {
	var lines []trace.Line
	for n, s := range scenario {
		lines = append(lines, s.line)
		for i, row := range newTable(lines).rows {
			if row != scenario[i].row {
				t.Fatalf("after %d lines: line %d, %s from %s to %s: row %d, want %d",
					n+1, i, scenario[i].line.Msg, scenario[i].line.From, scenario[i].line.To, row, scenario[i].row)
			}
		}
	}
}

// A question is over with its finish and the release of what its answer brought, not before.
func TestTableOver(t *testing.T) {
	needless := func(l *trace.Line) { l.NoFinish = new(true) }
	call, back := line(14, "alice", "carol", "call", 2, method("bar")), line(17, "carol", "alice", "return", 2, promises(7))
	finish, release := line(18, "alice", "carol", "finish", 2), line(18, "alice", "carol", "release", 7)
	for _, c := range []struct {
		name  string
		lines []said
		over  bool
	}{
		{"asked", []said{call}, false},
		{"finished only", []said{call, finish}, false},
		{"returned", []said{call, back}, false},
		{"not released", []said{call, back, finish}, false},
		{"not finished", []said{call, back, release}, false},
		{"over", []said{call, back, release, finish}, true},
		{"over before it was asked", []said{finish, release, call, back}, false},
		{"no finish needed", []said{call, line(17, "carol", "alice", "return", 2, needless)}, true},
		{"a finish needed", []said{call, line(17, "carol", "alice", "return", 2)}, false},
	} {
		var lines []trace.Line
		for _, s := range c.lines {
			lines = append(lines, s.line)
		}
		table := newTable(lines)
		for i, l := range lines {
			if l.Msg == "call" {
				table.rows[i] = 14 // without the handoff before it, it would be in no row
			}
		}
		if got := table.over(14); got != c.over {
			t.Errorf("%s: over is %v", c.name, got)
		}
	}
}

func TestThroughBob(t *testing.T) {
	messages := func(said ...said) []trace.Message {
		var ms []trace.Message
		for _, s := range said {
			ms = append(ms, trace.Message{Line: s.line, Row: s.row})
		}
		return ms
	}
	late := line(-1, "alice", "bob", "call", 9, method("bar"))
	if n := throughBob(messages(scenario...)); n != 0 {
		t.Errorf("as the table has it: %d calls through Bob, want 0", n)
	}
	if n := throughBob(messages(append(scenario, late, late)...)); n != 2 {
		t.Errorf("two calls at the end: %d calls through Bob, want 2", n)
	}
	if n := throughBob(messages(scenario[10], scenario[11], late)); n != 1 {
		t.Errorf("no handoff: %d calls through Bob, want 1", n)
	}
}
