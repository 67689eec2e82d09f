package trace

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// diary is what one vat saw, written down in the order in which it saw it.
type diary struct {
	name   string
	events []Event
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// sends and gets note one message each, told apart by its id.
func (d *diary) sends(to string, msg string, id uint32) *diary {
	return d.note(true, Line{From: d.name, To: to, Msg: msg, ID: &id})
}

func (d *diary) gets(from string, msg string, id uint32) *diary {
	return d.note(false, Line{From: from, To: d.name, Msg: msg, ID: &id})
}

func (d *diary) note(out bool, l Line) *diary {
	d.events = append(d.events, Event{Out: out, At: noon.Add(time.Duration(len(d.events)) * time.Second), Line: l})
	return d
}

// rows gives a message the row that rows has for its kind and id.
func rows(messages []Message, rows map[string]int) {
	for i, m := range messages {
		messages[i].Row = rows[m.text()]
	}
}

func texts(messages []Message) []string {
	var s []string
	for _, m := range messages {
		s = append(s, m.From+">"+m.To+" "+m.text())
	}
	return s
}

func mustPair(t *testing.T, logs ...*diary) []Message {
	t.Helper()
	var events [][]Event
	for _, l := range logs {
		events = append(events, l.events)
	}
	messages, err := Pair(events...)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func mustLinearize(t *testing.T, messages []Message) []Message {
	t.Helper()
	ordered, err := Linearize(messages)
	if err != nil {
		t.Fatal(err)
	}
	return ordered
}

func wantOrder(t *testing.T, got []Message, want ...string) {
	t.Helper()
	s := texts(got)
	if len(s) != len(want) {
		t.Fatalf("got %d messages %q, want %d", len(s), s, len(want))
	}
	for i := range s {
		if s[i] != want[i] {
			t.Errorf("message %d: got %q, want %q", i, s[i], want[i])
		}
	}
}

// bob answers alice and tells carol; which of the two left first cannot be observed: the rows decide.
func TestConcurrentByRow(t *testing.T) {
	one := func(bob *diary) []Message {
		alice := (&diary{name: "alice"}).sends("bob", "finish", 1).gets("bob", "finish", 2)
		carol := (&diary{name: "carol"}).gets("bob", "finish", 3)
		messages := mustPair(t, alice, bob, carol)
		rows(messages, map[string]int{"finish 1": 1, "finish 2": 3, "finish 3": 2})
		return mustLinearize(t, messages)
	}
	want := []string{"alice>bob finish 1", "bob>carol finish 3", "bob>alice finish 2"}
	wantOrder(t, one((&diary{name: "bob"}).gets("alice", "finish", 1).sends("alice", "finish", 2).sends("carol", "finish", 3)), want...)
	wantOrder(t, one((&diary{name: "bob"}).gets("alice", "finish", 1).sends("carol", "finish", 3).sends("alice", "finish", 2)), want...)
}

// A row may not overrule causality: carol's answer to what alice told bob, and bob told her.
func TestCausesComeFirst(t *testing.T) {
	alice := (&diary{name: "alice"}).sends("bob", "finish", 1).gets("carol", "finish", 3)
	bob := (&diary{name: "bob"}).gets("alice", "finish", 1).sends("carol", "finish", 2)
	carol := (&diary{name: "carol"}).gets("bob", "finish", 2).sends("alice", "finish", 3)
	messages := mustPair(t, carol, bob, alice)
	rows(messages, map[string]int{"finish 1": 3, "finish 2": 2, "finish 3": 1})
	wantOrder(t, mustLinearize(t, messages), "alice>bob finish 1", "bob>carol finish 2", "carol>alice finish 3")
}

// A link is first in, first out, whatever the rows say; messages without rows go by names.
func TestLinksKeepTheirOrder(t *testing.T) {
	alice := (&diary{name: "alice"}).sends("bob", "finish", 1).sends("bob", "finish", 2)
	bob := (&diary{name: "bob"}).gets("alice", "finish", 1).gets("alice", "finish", 2)
	carol := (&diary{name: "carol"}).sends("alice", "finish", 5)
	messages := mustPair(t, carol, alice, bob)
	rows(messages, map[string]int{"finish 1": 9, "finish 2": 1})
	wantOrder(t, mustLinearize(t, messages), "carol>alice finish 5", "alice>bob finish 1", "alice>bob finish 2")
	rows(messages, nil)
	for i := range messages {
		messages[i].Row = 0
	}
	wantOrder(t, mustLinearize(t, messages), "alice>bob finish 1", "alice>bob finish 2", "carol>alice finish 5")
}

// Whatever random vats say to each other, the order is causal, and the logs' order does not matter.
func TestLinearizeRandomExchanges(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		logs := randomExchange(r, 40)
		ordered := mustLinearize(t, mustPair(t, logs...))
		if len(ordered) != 40 {
			t.Fatalf("seed %d: %d messages of 40", seed, len(ordered))
		}
		checkCausal(t, seed, logs, ordered)
		r.Shuffle(len(logs), func(i, j int) { logs[i], logs[j] = logs[j], logs[i] })
		wantOrder(t, mustLinearize(t, mustPair(t, logs...)), texts(ordered)...)
	}
}

// randomExchange sends n messages among three vats, received in the order of each link, at random moments.
func randomExchange(r *rand.Rand, n uint32) []*diary {
	logs := []*diary{{name: "a"}, {name: "b"}, {name: "c"}}
	flying := make(map[[2]int][]uint32)
	for id := uint32(0); id < n; {
		from := r.IntN(3)
		to := (from + 1 + r.IntN(2)) % 3
		key := [2]int{from, to}
		if r.IntN(2) == 0 {
			logs[from].sends(logs[to].name, "finish", id)
			flying[key] = append(flying[key], id)
			id++
		} else if queue := flying[key]; len(queue) > 0 {
			logs[to].gets(logs[from].name, "finish", queue[0])
			flying[key] = queue[1:]
		}
	}
	return logs
}

// checkCausal looks at each vat's own log: what it had received comes before what it then sent.
func checkCausal(t *testing.T, seed uint64, logs []*diary, ordered []Message) {
	t.Helper()
	place := make(map[uint32]int)
	for i, m := range ordered {
		place[*m.ID] = i
	}
	for _, log := range logs {
		for i, cause := range log.events {
			for _, effect := range log.events[i+1:] {
				sameLink := cause.Out && cause.Line.To == effect.Line.To
				if effect.Out && (!cause.Out || sameLink) && place[*cause.Line.ID] > place[*effect.Line.ID] {
					t.Fatalf("seed %d: %d stands behind its effect %d", seed, *cause.Line.ID, *effect.Line.ID)
				}
			}
		}
	}
}

func TestPair(t *testing.T) {
	alice := (&diary{name: "alice"}).sends("bob", "finish", 1).sends("bob", "finish", 2)
	bob := (&diary{name: "bob"}).gets("alice", "finish", 1)
	messages := mustPair(t, alice, bob)
	if m := messages[0]; !m.T.Equal(noon) || !m.At.Equal(noon) {
		t.Errorf("the first message: %+v", m)
	}
	if !messages[1].At.IsZero() {
		t.Error("the second message was not received, but has arrived")
	}
}

func TestMismatches(t *testing.T) {
	for name, logs := range map[string][]*diary{
		"received, not sent": {
			(&diary{name: "alice"}).sends("bob", "finish", 1),
			(&diary{name: "bob"}).gets("alice", "finish", 1).gets("alice", "finish", 2),
		},
		"another message": {
			(&diary{name: "alice"}).sends("bob", "finish", 1),
			(&diary{name: "bob"}).gets("alice", "finish", 2),
		},
		"effect before cause": {
			(&diary{name: "alice"}).gets("bob", "finish", 2).sends("bob", "finish", 1),
			(&diary{name: "bob"}).gets("alice", "finish", 1).sends("alice", "finish", 2),
		},
	} {
		t.Run(name, func(t *testing.T) {
			messages, err := Pair(logs[0].events, logs[1].events)
			if err == nil {
				_, err = Linearize(messages)
			}
			if _, ok := errors.AsType[*MismatchError](err); !ok {
				t.Errorf("got %v, want a MismatchError", err)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	reason := "no; bar #1\x1b[31m\nhere"
	id, path := uint32(4), []uint16{0}
	messages := []Message{
		{Line: Line{From: "alice", To: "bob", Msg: "bootstrap", ID: &id}},
		{Line: Line{From: "bob", To: "carol", Msg: "call", ID: &id, Interface: "CapBla", Method: "bar", ResultsTo: "thirdParty",
			Recipient: "alice", Nonces: []string{"7f3a0102030405060708090a0b0c0d0e"}, Target: &Target{Answer: &id, Path: path}}, Row: 6},
		{Line: Line{From: "carol", To: "bob", Msg: "return", ID: &id, Which: "exception", Error: reason}, Row: 17},
	}
	var text, mermaid bytes.Buffer
	if err := WriteText(&text, messages); err != nil {
		t.Fatal(err)
	}
	golden(t, "text.golden", text.Bytes())
	if err := WriteMermaid(&mermaid, []string{"alice", "bob", "carol"}, messages); err != nil {
		t.Fatal(err)
	}
	golden(t, "mermaid.golden", mermaid.Bytes())
	if got := bytes.Count(text.Bytes(), []byte("\n")); got != len(messages) {
		t.Errorf("%d lines for %d messages", got, len(messages))
	}
}
