package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// An independent reader of the trace: it knows the format and the scenario's table from their descriptions, and
// shares nothing with the code that wrote the trace.

// record is a line of the trace, with exactly the keys of the format.
type record struct {
	T, At    time.Time
	From, To string
	Msg      string
	ID       *uint32
	Target   *struct {
		Import, Answer *uint32
		Path           *[]int
	}
	Interface, Method string
	ResultsTo         string
	Which             string
	Caps              []struct {
		Which string
		ID    *uint32
		Vat   string
		Nonce string
		Vine  *uint32
	}
	Recipient, Nonce string
	Nonces           []string
	Introducer       string
	Context, Embargo string
	Count            *uint32
	ReleaseCaps      *bool
	NoFinish         *bool
	Error            string
}

// ending is the last line.
type ending struct {
	Verdict *struct {
		OK          bool
		CreekResult string
		Deliveries  []string
		ThroughBob  *int
		Tables      map[string]map[string]int
	}
}

func strictly(line []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// readTrace reads a whole trace file.
func readTrace(text []byte) (records []record, end ending, err error) {
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	for i, line := range lines {
		if i == len(lines)-1 {
			err = strictly(line, &end)
		} else {
			var r record
			err = strictly(line, &r)
			records = append(records, r)
		}
		if err != nil {
			return nil, end, fmt.Errorf("line %d: %w: %s", i+1, err, line)
		}
	}
	return records, end, nil
}

// checker walks through a trace and notes what is wrong with it.
type checker struct {
	records  []record
	problems []string
}

func (c *checker) wrong(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// hop is two letters, sender and receiver: "ab" is alice to bob.
func hop(r record) string { return r.From[:1] + r.To[:1] }

// find returns the place of the first line on hop that is a msg, fits, and stands after all of these.
func (c *checker) find(row string, on, msg string, fits func(record) bool, after ...int) int {
	start := -1
	for _, a := range after {
		start = max(start, a)
	}
	for i := start + 1; i < len(c.records); i++ {
		if r := c.records[i]; hop(r) == on && r.Msg == msg && fits(r) {
			return i
		}
	}
	c.wrong("row %s: no such %s on %s after line %d", row, msg, on, start+1)
	return len(c.records)
}

// at is the line found there, or one that fits nothing.
func (c *checker) at(i int) record {
	if i >= len(c.records) {
		return record{From: "?", To: "?"}
	}
	return c.records[i]
}

// provided is the import that a provide is about.
func provided(r record) *uint32 {
	if r.Target == nil {
		return nil
	}
	return r.Target.Import
}

func is(id *uint32, want *uint32) bool { return id != nil && want != nil && *id == *want }

func withID(id *uint32) func(record) bool { return func(r record) bool { return is(r.ID, id) } }

func toImport(r record, id *uint32) bool { return r.Target != nil && is(r.Target.Import, id) }

func toAnswer(r record, id *uint32, path ...int) bool {
	return r.Target != nil && is(r.Target.Answer, id) && r.Target.Path != nil && slices.Equal(*r.Target.Path, path)
}

// promised is the export id of the one promise in a return.
func (c *checker) promised(row string, i int) *uint32 {
	r := c.at(i)
	if r.Which != "results" || len(r.Caps) != 1 || r.Caps[0].Which != "senderPromise" {
		c.wrong("row %s: a return of one promise expected, got %+v", row, r)
		return nil
	}
	return r.Caps[0].ID
}

// checkTable returns what is wrong with a trace of the scenario. In a held one Alice is at Carol's first, and
// what Carol answers Bob comes late.
func checkTable(records []record, held bool) []string {
	c := &checker{records: records}
	for i, r := range records {
		if r.T.IsZero() || r.At.IsZero() || r.From == "" || r.To == "" || r.From == r.To {
			c.wrong("line %d lacks times or vats: %+v", i+1, r)
			return c.problems
		}
	}

	foo := c.find("1", "ab", "call", func(r record) bool { return r.Interface == "BobAPI" && r.Method == "foo" && r.ResultsTo == "caller" })
	bar := c.find("2", "ab", "call", func(r record) bool { return r.Method == "bar" && toAnswer(r, c.at(foo).ID, 0) }, foo)
	fooBack := c.find("3", "ba", "return", withID(c.at(foo).ID), bar)
	barBack := c.find("4", "ba", "return", withID(c.at(bar).ID), fooBack)
	p1, p2 := c.promised("3", fooBack), c.promised("4", barBack)

	provide := c.find("5", "bc", "provide", func(r record) bool { return r.Recipient == "alice" && len(r.Nonce) == 32 }, barBack)
	n0 := c.at(provide).Nonce
	forward := c.find("6", "bc", "call", func(r record) bool {
		return r.Interface == "CapBla" && r.Method == "bar" && r.ResultsTo == "thirdParty" && r.Recipient == "alice" &&
			len(r.Nonces) == 1 && len(r.Nonces[0]) == 32 && r.Nonces[0] != n0 && toImport(r, provided(c.at(provide)))
	}, provide)
	n1 := append(c.at(forward).Nonces, "none")[0]
	elsewhere := c.find("7", "cb", "return", withID(c.at(forward).ID), forward)
	if c.at(elsewhere).Which != "resultsSentElsewhere" {
		c.wrong("row 7: %+v", c.at(elsewhere))
	}
	resolve1 := c.find("8", "ba", "resolve", handsOver(p1, n0), forward)
	resolve2 := c.find("9", "ba", "resolve", handsOver(p2, n1), resolve1)

	accept1 := c.find("10", "ac", "accept", completes(n0), resolve1)
	accept2 := c.find("11", "ac", "accept", completes(n1), resolve2, accept1)
	e1, e2 := c.at(accept1).Embargo, c.at(accept2).Embargo
	if e1 == "" || e1 == e2 {
		c.wrong("rows 10 and 11: the embargoes are %q and %q", e1, e2)
	}
	lift1 := c.find("12", "ab", "disembargo", func(r record) bool { return lifts(r, e1) && toImport(r, p1) }, accept1)
	lift2 := c.find("12", "ab", "disembargo", func(r record) bool { return lifts(r, e2) && toImport(r, p2) }, lift1, accept2)
	pickedUp := c.find("13", "cb", "return", withID(c.at(provide).ID), provide, accept1)

	creek := c.find("14", "ac", "call", func(r record) bool { return r.Method == "creek" && toAnswer(r, c.at(accept2).ID) }, lift2)
	again := c.find("14", "ac", "call", func(r record) bool { return r.Method == "bar" && toAnswer(r, c.at(accept1).ID) }, creek)
	lifted1 := c.find("15", "bc", "disembargo", func(r record) bool { return lifts(r, e1) && toAnswer(r, c.at(provide).ID) }, again)
	lifted2 := c.find("16", "bc", "disembargo", func(r record) bool { return lifts(r, e2) && toAnswer(r, c.at(forward).ID) }, lifted1)
	back := lifted1
	for k, q := range []int{accept1, accept2, creek, again} {
		if k == 1 {
			back = max(back, lifted2)
		}
		back = c.find("17", "ca", "return", withID(c.at(q).ID), back)
		if c.at(back).Which != "results" {
			c.wrong("row 17: %+v", c.at(back))
		}
	}
	c.checkEnd(back, []*uint32{p1, p2, vine(c.at(resolve1)), vine(c.at(resolve2))}, foo, bar, provide, forward, accept1, accept2, again)
	c.checkHeld(held, provide, elsewhere, resolve1, pickedUp, creek, accept1, accept2, again)
	for i := lift2; i < len(records); i++ {
		if hop(records[i]) == "ab" && records[i].Msg == "call" {
			c.wrong("line %d: a call of Alice's to Bob after the handoff", i+1)
		}
	}
	return c.problems
}

func handsOver(promise *uint32, nonce string) func(record) bool {
	return func(r record) bool {
		return is(r.ID, promise) && r.Which == "cap" && len(r.Caps) == 1 && r.Caps[0].Which == "thirdPartyHosted" &&
			r.Caps[0].Vat == "carol" && r.Caps[0].Nonce == nonce && r.Caps[0].Vine != nil
	}
}

func completes(nonce string) func(record) bool {
	return func(r record) bool { return r.Introducer == "bob" && r.Nonce == nonce }
}

func lifts(r record, embargo string) bool { return r.Context == "accept" && r.Embargo == embargo }

func vine(r record) *uint32 {
	if len(r.Caps) != 1 {
		return nil
	}
	return r.Caps[0].Vine
}

// checkEnd is rows 18 to 20: each question is finished, and what was exported is released.
func (c *checker) checkEnd(after int, exports []*uint32, foo, bar, provide, forward int, accepted ...int) {
	for _, q := range accepted {
		c.find("18", "ac", "finish", withID(c.at(q).ID), q, c.find("17", "ca", "return", withID(c.at(q).ID), q))
	}
	for _, id := range exports {
		c.find("19", "ab", "release", withID(id), after)
	}
	c.find("19", "ab", "finish", withID(c.at(bar).ID), bar)
	c.find("19", "ab", "finish", withID(c.at(foo).ID), foo)
	c.find("20", "bc", "finish", withID(c.at(forward).ID), forward)
	c.find("20", "bc", "finish", withID(c.at(provide).ID), provide)
	c.find("20", "bc", "release", withID(provided(c.at(provide))), after)
}

// checkHeld is what a delay of the link from Bob to Carol makes of the order.
func (c *checker) checkHeld(held bool, provide, elsewhere, resolve1, pickedUp, creek int, alices ...int) {
	if !held {
		if elsewhere > resolve1 || pickedUp > creek {
			c.wrong("rows 7 and 13 stand in lines %d and %d, want them before rows 8 and 14", elsewhere+1, pickedUp+1)
		}
		return
	}
	for _, i := range alices {
		if !c.at(i).At.Before(c.at(provide).At) {
			c.wrong("line %d reached Carol after the provide, though the link was slow", i+1)
		}
	}
}
