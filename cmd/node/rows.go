package main

import (
	"slices"

	"github.com/vatwork/vatwork/vat/trace"
)

// What comes before the table: Bob imports capBla from Carol, then Alice gets Bob's bootstrap.
const (
	rowBobsPrelude   = -2
	rowAlicesPrelude = -1
)

// table knows the row of the scenario's table that each line is, by what it says and which earlier message
// it refers to. Lines are known by their index; -1 is one that is not there.
type table struct {
	lines []trace.Line
	rows  []int               // what is in no row is in one of the two above
	links map[[2]string][]int // indices, in the order of the link

	foo, bar           int    // rows 1 and 2
	answered           [2]int // rows 3 and 4
	provide, forward   int    // rows 5 and 6
	resolved, accepted [2]int // rows 8 to 11
}

// newTable reads lines, those of one link in their order. Ids may be used again and again.
func newTable(lines []trace.Line) *table {
	t := &table{lines: lines, rows: make([]int, len(lines)), links: make(map[[2]string][]int)}
	for i, l := range lines {
		link := [2]string{l.From, l.To}
		t.links[link] = append(t.links[link], i)
		t.rows[i] = rowAlicesPrelude
		if l.From == carolName || l.To == carolName {
			t.rows[i] = rowBobsPrelude
		}
	}
	t.promise()
	t.introduce()
	t.accept()
	t.use()
	t.release()
	return t
}

// set gives line i that row.
func (t *table) set(i, row int) int {
	if i >= 0 {
		t.rows[i] = row
	}
	return i
}

// find returns the first line on a link that is a msg and pleases also.
func (t *table) find(from, to, msg string, also func(i int, l trace.Line) bool) int {
	for _, i := range t.links[[2]string{from, to}] {
		if l := t.lines[i]; l.Msg == msg && also(i, l) {
			return i
		}
	}
	return -1
}

// each calls f for each line on a link.
func (t *table) each(from, to string, f func(i int, l trace.Line)) {
	for _, i := range t.links[[2]string{from, to}] {
		f(i, t.lines[i])
	}
}

func isQuestion(l trace.Line) bool {
	return slices.Contains([]string{"bootstrap", "call", "provide", "accept"}, l.Msg)
}

// question returns the question that had id when line i was sent: the last one before i on its link.
func (t *table) question(i int, id *uint32) int {
	found := -1
	if id == nil {
		return found
	}
	for _, j := range t.links[[2]string{t.lines[i].From, t.lines[i].To}] {
		if j == i {
			break
		}
		if isQuestion(t.lines[j]) && t.lines[j].HasID(*id) {
			found = j
		}
	}
	return found
}

// about reports whether line i is addressed to the answer of question q.
func (t *table) about(i, q int) bool {
	target := t.lines[i].Target
	return q >= 0 && target != nil && t.question(i, target.Answer) == q
}

// answer returns the return of question q: where q is the k-th question of its id, the k-th return of it.
func (t *table) answer(q int) int {
	if q < 0 {
		return -1
	}
	asked := t.lines[q]
	k := 0
	t.each(asked.From, asked.To, func(i int, l trace.Line) {
		if i <= q && isQuestion(l) && l.HasID(*asked.ID) {
			k++
		}
	})
	return t.find(asked.To, asked.From, "return", func(_ int, l trace.Line) bool {
		if l.HasID(*asked.ID) {
			k--
		}
		return k == 0 && l.HasID(*asked.ID)
	})
}

// promise finds rows 1 to 4.
func (t *table) promise() {
	t.foo = t.set(t.find(aliceName, bobName, "call", func(_ int, l trace.Line) bool { return l.Method == "foo" }), 1)
	t.bar = t.set(t.find(aliceName, bobName, "call", func(i int, l trace.Line) bool {
		return l.Method == "bar" && t.about(i, t.foo)
	}), 2)
	t.answered[0] = t.set(t.answer(t.foo), 3)
	t.answered[1] = t.set(t.answer(t.bar), 4)
}

// introduce finds rows 5 to 9.
func (t *table) introduce() {
	t.provide = t.set(t.find(bobName, carolName, "provide", func(int, trace.Line) bool { return true }), 5)
	t.forward = t.set(t.find(bobName, carolName, "call", func(_ int, l trace.Line) bool { return l.ResultsTo == "thirdParty" }), 6)
	t.set(t.answer(t.forward), 7)
	for k, answer := range t.answered {
		t.resolved[k] = t.set(t.find(bobName, aliceName, "resolve", func(_ int, l trace.Line) bool {
			promises := answer >= 0 && len(t.lines[answer].Caps) == 1 && t.lines[answer].Caps[0].ID != nil
			return promises && l.HasID(*t.lines[answer].Caps[0].ID)
		}), 8+k)
	}
}

// accept finds rows 10 to 13.
func (t *table) accept() {
	for k, resolve := range t.resolved {
		t.accepted[k] = t.set(t.find(aliceName, carolName, "accept", func(_ int, l trace.Line) bool {
			handed := resolve >= 0 && len(t.lines[resolve].Caps) == 1
			return handed && l.Nonce == t.lines[resolve].Caps[0].Nonce
		}), 10+k)
	}
	t.each(aliceName, bobName, func(i int, l trace.Line) {
		for _, a := range t.accepted {
			if l.Context == "accept" && a >= 0 && l.Embargo == t.lines[a].Embargo {
				t.set(i, 12)
			}
		}
	})
	t.set(t.answer(t.provide), 13)
}

// use finds rows 14 to 17.
func (t *table) use() {
	t.each(aliceName, carolName, func(i int, l trace.Line) {
		if l.Msg == "call" && (t.about(i, t.accepted[0]) || t.about(i, t.accepted[1])) {
			t.set(i, 14)
			t.set(t.answer(i), 17)
		}
	})
	t.each(bobName, carolName, func(i int, l trace.Line) {
		switch {
		case l.Context != "accept":
		case t.about(i, t.provide):
			t.set(i, 15)
		case t.about(i, t.forward):
			t.set(i, 16)
		}
	})
	for _, a := range t.accepted {
		t.set(t.answer(a), 17)
	}
}

// release finds rows 18 to 20.
func (t *table) release() {
	t.each(aliceName, carolName, func(i int, l trace.Line) {
		if l.Msg == "finish" || l.Msg == "release" {
			t.set(i, 18)
		}
	})
	t.each(aliceName, bobName, func(i int, l trace.Line) {
		q := -1
		if l.Msg == "finish" {
			q = t.question(i, l.ID)
		}
		if l.Msg == "release" || q >= 0 && (q == t.foo || q == t.bar) {
			t.set(i, 19)
		}
	})
	t.each(bobName, carolName, func(i int, l trace.Line) {
		q := -1
		if l.Msg == "finish" {
			q = t.question(i, l.ID)
		}
		if q >= 0 && (q == t.provide || q == t.forward) || l.Msg == "release" && t.provide >= 0 {
			t.set(i, 20)
		}
	})
}

// over reports whether each question of that row has been answered and finished, and what its answer brought
// been released.
func (t *table) over(row int) bool {
	for i, l := range t.lines {
		if t.rows[i] == row && isQuestion(l) && !t.questionOver(i) {
			return false
		}
	}
	return true
}

func (t *table) questionOver(q int) bool {
	asked, answer := t.lines[q], t.answer(q)
	if answer < 0 {
		return false
	}
	gone := func(msg string, id uint32) bool {
		return t.find(asked.From, asked.To, msg, func(i int, l trace.Line) bool { return i > q && l.HasID(id) }) >= 0
	}
	answerLine := t.lines[answer]
	if needless := answerLine.NoFinish != nil && *answerLine.NoFinish; !needless && !gone("finish", *asked.ID) {
		return false
	}
	for _, c := range answerLine.Caps {
		ours := c.Which == "senderHosted" || c.Which == "senderPromise"
		if ours && c.ID != nil && !gone("release", *c.ID) {
			return false
		}
	}
	return true
}
