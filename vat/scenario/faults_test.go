package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/scenario/play"
)

// The fault matrix: the three-party handoff is brought to each of its phases, something breaks, and what alice has
// called, before and after that, must return or fail with an error that says why. What comes out is a table,
// vat/FAULTS.md.

// A phase is where the handoff, or the call that is forwarded, stands when something breaks: what was done, with a link
// held.
type phase struct {
	name string
	held string
	what string
}

var phases = []phase{
	{"fresh", "", "alice has been handed a capability of carol's and has not used it"},
	{"promise", "", "alice has promises for foo and bar, and has called bar's: bob does not know yet what they are"},
	{"resolving", "bob>alice", "bob has resolved them to what carol hosts, and alice has not heard of it"},
	{"accepting", "bob>carol", "alice has sent her Accepts to carol, and calls on them; what bob tells carol is on its way"},
	{"lifting", "carol>alice", "carol has lifted the embargoes and answered, and alice does not know yet"},
	{"after", "", "the handoff is done"},
}

// faults are what breaks, as "kill alice": ended without a word, "cut alice>carol": the connection, "stall carol":
// nothing comes from it or to it for two minutes.
var faults = []string{
	"kill alice", "kill bob", "kill carol",
	"cut alice>bob", "cut bob>carol", "cut alice>carol",
	"stall alice", "stall bob", "stall carol",
	"the object panics", "alice cancels", "bob drops his reference",
}

const stallFor = 2 * time.Minute

func TestFaultMatrix(t *testing.T) {
	for table, phases := range map[string][]phase{"memory": phases, "forwarded": tailPhases} {
		t.Run(table, func(t *testing.T) { faultTable(t, table, phases) })
	}
}

// faultTable compares the table of that name with what comes of each fault in each phase.
func faultTable(t *testing.T, name string, phases []phase) {
	const file = "../FAULTS.md"
	var rows []string
	for _, p := range phases {
		for _, f := range faults {
			t.Run(p.name+"/"+f, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := faultRun{stage: newStage(t, nil), phase: p, fault: f, forwarded: name == "forwarded"}
					rows = append(rows, r.run())
				})
			})
		}
	}
	if t.Failed() || len(rows) != len(phases)*len(faults) {
		return
	}
	table := "| phase | fault | what alice saw | known after |\n| --- | --- | --- | --- |\n" + strings.Join(rows, "\n") + "\n"
	text := string(must(os.ReadFile(file)))
	before, rest, found := strings.Cut(text, "<!-- "+name+" -->\n")
	_, after, end := strings.Cut(rest, "<!-- end of "+name+" -->\n")
	if !found || !end {
		t.Fatalf("%s has no place for the table %s", file, name)
	}
	want := before + "<!-- " + name + " -->\n" + table + "<!-- end of " + name + " -->\n" + after
	switch {
	case text == want:
	case *update:
		check(os.WriteFile(file, []byte(want), 0o644))
	default:
		t.Errorf("%s differs (-update rewrites it):\n%s", file, diff(strings.Split(text, "\n"), strings.Split(want, "\n")))
	}
}

// faultRun is one row of the table.
type faultRun struct {
	*stage
	phase phase
	fault string
	// forwarded: it is about a call that is forwarded, see faults_forward_test.go.
	forwarded bool
	gone      string // the vat that was killed
	calls     []string
	seen      map[string]string // of each call, what came of it
	known     time.Duration     // when the last was known
}

func (r *faultRun) do(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if words := strings.Fields(line); r.gone == "" || words[0] != "do" || words[1] != r.gone {
		if err := r.step(directive{word: words[0], args: words[1:]}); err != nil {
			r.t.Fatalf("%s, %s: %s: %v", r.phase.name, r.fault, line, err)
		}
	}
}

// call has alice make a call, whose fate is watched.
func (r *faultRun) call(name, what string) {
	if r.gone != "alice" {
		r.do("do alice %s = %s", name, what)
		r.calls = append(r.calls, name)
	}
}

func (r *faultRun) run() string {
	ended := false
	defer func() {
		if !ended {
			r.close()
		}
	}()
	r.reach()
	begin := time.Now()
	r.strike()
	r.do("settle")
	if r.phase.held != "" && !r.stalls(r.phase.held) {
		r.do("free %s", r.phase.held)
	}
	if r.phase.name == "promise" {
		r.do("do bob resolve capBla C")
		if strings.HasPrefix(r.fault, "bob drops") {
			r.do("do bob drop C")
		}
		r.call("bar2", "capBla.bar second")
	}
	r.do("settle")
	if r.forwarded {
		r.goOn()
	} else {
		r.call("later", "capBla.creek later")
	}
	r.do("settle")
	r.await(begin)
	r.verify()
	ended = true
	r.end()
	return fmt.Sprintf("| %s | %s | %s | %v |", r.phase.name, r.fault, r.saw(), r.known)
}

// reach brings the handoff to its phase.
func (r *faultRun) reach() {
	r.do("vats alice bob carol")
	carol := must(r.member("carol"))
	check(carol.spawn("bla"))
	r.do("give bob C=carol.bla")
	r.do("do alice b = bootstrap bob")
	r.do("settle")
	if r.forwarded {
		r.forward()
		return
	}
	if r.phase.name == "fresh" {
		r.do("do alice foo = b.foo C")
		r.do("settle")
		r.do("do alice capBla = foo.cap")
		return
	}
	r.do("do alice foo = b.foo capBla")
	r.do("do alice capBla = foo.cap")
	r.do("do alice bar1 = capBla.bar first")
	r.do("do alice capBar = bar1.cap")
	r.do("settle")
	if r.phase.name == "promise" {
		r.call("creek", "capBar.creek water")
		r.do("settle")
		return
	}
	if r.phase.held != "" {
		r.do("hold %s", r.phase.held)
	}
	r.do("do bob resolve capBla C")
	r.do("settle")
	r.call("creek", "capBar.creek water")
	r.call("bar2", "capBla.bar second")
	r.do("settle")
}

// strike has the fault happen.
func (r *faultRun) strike() {
	verb, what, _ := strings.Cut(r.fault, " ")
	switch {
	case verb == "kill":
		r.gone = what
		check(r.kill(what))
	case verb == "cut":
		r.do("cut %s", what)
	case verb == "stall":
		for _, l := range r.links(what) {
			r.do("hold %v", l)
		}
	case verb == "alice":
		for _, c := range r.calls {
			r.do("do alice cancel %s", c)
		}
	case verb == "bob":
		if r.phase.name != "promise" {
			r.do("do bob drop C")
		}
	default:
		r.do("do bob boom = C.creek panic")
	}
}

// links are those from and to a vat.
func (r *faultRun) links(of string) (all []link) {
	for _, m := range r.members {
		if m.name != of {
			all = append(all, link{of, m.name}, link{m.name, of})
		}
	}
	return all
}

func (r *faultRun) stalls(held string) bool {
	verb, what, _ := strings.Cut(r.fault, " ")
	return verb == "stall" && slices.Contains(r.links(what), must(parseLink(held)))
}

// kill ends a vat without a word: nothing that it writes from now on arrives, and nobody can connect to it.
func (st *stage) kill(name string) error {
	m, err := st.member(name)
	if err != nil {
		return err
	}
	for _, other := range st.members {
		if other != m {
			st.mu.Lock()
			st.dials[link{other.name, name}], st.dials[link{name, other.name}] = "refused", "refused"
			st.mu.Unlock()
			st.memory.Link(m.v.ID(), other.v.ID()).Cut()
		}
	}
	st.wire.openLinks(name)
	return m.v.Close()
}

// await lets time pass until all is known that alice has asked, and notes when that was.
func (r *faultRun) await(begin time.Time) {
	r.seen = map[string]string{}
	for after := time.Duration(0); after < 2*stallFor; after += time.Second {
		if r.gone == "alice" {
			return
		}
		for _, name := range r.calls {
			if _, known := r.seen[name]; known {
				continue
			}
			p := must(must(r.member("alice")).asked(name))
			select {
			case <-p.ans.Done():
				r.seen[name] = fate(p)
				r.known = time.Since(begin)
			default:
			}
		}
		if len(r.seen) == len(r.calls) && (!strings.HasPrefix(r.fault, "stall") || after > stallFor) {
			return
		}
		time.Sleep(time.Second)
		if after == stallFor {
			r.wire.mu.Lock()
			clear(r.wire.held)
			r.wire.mu.Unlock()
		}
		r.do("settle")
	}
	r.t.Errorf("%s, %s: only this is known of %q: %q", r.phase.name, r.fault, r.calls, r.seen)
}

// fate is what came of a call.
func fate(p *pending) string {
	_, err := p.ans.Struct()
	if err == nil {
		return "returned"
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return "“" + err.Error() + "”"
}

// verify checks what carol's objects ran: each call at most once, in order, and all of those that have returned.
func (r *faultRun) verify() {
	carol := must(r.member("carol"))
	carol.mu.Lock()
	defer carol.mu.Unlock()
	if r.forwarded {
		r.verifyForwarded(carol.ran)
		return
	}
	order := []string{"bar first", "bar second", "creek later"}
	ran := slices.DeleteFunc(slices.Clone(carol.ran["bla"]), func(c string) bool { return c == "creek panic" })
	next := 0
	for _, c := range ran {
		i := slices.Index(order[next:], c)
		if i < 0 {
			r.t.Errorf("%s, %s: bla ran %q", r.phase.name, r.fault, ran)
			return
		}
		next += i + 1
	}
	ran = append(ran, carol.ran["first"]...)
	for call, runs := range map[string]string{"creek": "creek water", "bar2": "bar second", "later": "creek later"} {
		n := 0
		for _, c := range ran {
			if c == runs {
				n++
			}
		}
		if n > 1 || n == 0 && r.seen[call] == "returned" {
			r.t.Errorf("%s, %s: %s has %s, and ran %d times", r.phase.name, r.fault, call, r.seen[call], n)
		}
	}
}

// saw tells what came of the calls, together where that is the same.
func (r *faultRun) saw() string {
	if r.gone == "alice" {
		return "she is gone"
	}
	names := map[string]string{"tail": "the call", "creek": "creek", "bar2": "bar", "later": "a later call"}
	var parts []string
	for i, c := range r.calls {
		if slices.ContainsFunc(r.calls[:i], func(b string) bool { return r.seen[b] == r.seen[c] }) {
			continue
		}
		var same []string
		for _, b := range r.calls[i:] {
			if r.seen[b] == r.seen[c] {
				same = append(same, names[b])
			}
		}
		who := strings.Join(same, ", ")
		if len(same) == len(r.calls) {
			who = "every call"
		}
		parts = append(parts, who+": "+r.seen[c])
	}
	return strings.Join(parts, "; ")
}

// spawn makes an object that is supervised: it panics when it is told to, and is restarted.
func (m *member) spawn(name string) error {
	c, err := vat.Spawn[play.Thing](m.v, play.Thing_Methods, func() play.Thing_Server { return panicking{thing{m, name}} })
	if err == nil {
		m.set(name, capnp.Client(c))
	}
	return err
}

type panicking struct{ thing }

func (p panicking) Creek(ctx context.Context, call play.Thing_creek) error {
	if text, err := call.Args().Text(); err != nil || text == "panic" {
		p.of.note(p.name, "creek panic")
		panic("it was told to")
	}
	return p.thing.Creek(ctx, call)
}
