package scenario

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

var (
	scripts   = flag.Int("scripts", 60, "how many random scripts are run")
	keepFails = flag.String("keep", "", "write a random script that fails to this file")
	file      = flag.String("file", "", "the script that TestFile runs")
)

// An author writes scripts at random: vats that pass promises and objects to each other, call them all the time,
// resolve the promises to whatever they have, and links that are held meanwhile. In the end everything is
// resolved and freed, each call must have returned, and calls on one reference must have run in the order in
// which they were made.
//
// Promises are resolved only to what is older, so that none resolves to itself.
type author struct {
	rng   *rand.Rand
	lines []string
	vats  []string
	known [][]entity // by vat: what others can ask it for
	holds [][]entity // by vat: references of its own, in use
	open  []entity   // promises that are not resolved
	held  map[string]bool
	calls []string
	last  int
	count map[string]int // calls, by reference
}

// entity is something that a vat knows by name. A greater age is younger.
type entity struct {
	name string
	age  int
	vat  int
}

func writeScript(seed uint64) *script {
	a := &author{
		rng:   rand.New(rand.NewPCG(seed, 1)),
		vats:  []string{"alice", "bob", "carol", "dave"}[:2+seed%3],
		held:  map[string]bool{},
		count: map[string]int{},
	}
	a.known = make([][]entity, len(a.vats))
	a.holds = make([][]entity, len(a.vats))
	forwards := ""
	if seed%2 == 0 {
		forwards = ":" + optionForwards
	}
	a.say("vats %s%s", strings.Join(a.vats, forwards+" "), forwards)
	for i, v := range a.vats {
		for j, w := range a.vats {
			if i != j {
				a.say("do %s to_%s = bootstrap %s", v, w, w)
			}
		}
		a.create(i, "object")
		a.create(i, "promise")
	}
	a.say("settle")
	for range 60 {
		a.step()
	}
	a.finish()
	return &script{fmt.Sprintf("random %d", seed), a.lines}
}

func (a *author) say(format string, args ...any) {
	a.lines = append(a.lines, fmt.Sprintf(format, args...))
}

func (a *author) fresh(prefix string) string {
	a.last++
	return fmt.Sprintf("%s%d", prefix, a.last)
}

// create makes an object or a promise that others can ask for, and the vat can use.
func (a *author) create(vat int, kind string) {
	e := entity{a.fresh(kind), 0, vat}
	e.age = a.last
	a.say("do %s %s %s", a.vats[vat], kind, e.name)
	a.known[vat] = append(a.known[vat], e)
	a.holds[vat] = append(a.holds[vat], e)
	if kind == "promise" {
		a.open = append(a.open, e)
	}
}

func (a *author) step() {
	vat := a.rng.IntN(len(a.vats))
	switch a.rng.IntN(14) {
	case 0:
		a.create(vat, []string{"object", "promise"}[a.rng.IntN(2)])
	case 1, 2, 3:
		a.fetch(vat)
	case 4:
		a.bar(vat)
	case 5:
		a.resolveOne()
	case 6:
		a.say("settle")
	case 7:
		a.toggleLink()
	case 8:
		a.drop(vat)
	default:
		a.call(vat)
	}
}

// fetch asks another vat for something that it knows.
func (a *author) fetch(vat int) {
	from := (vat + 1 + a.rng.IntN(len(a.vats)-1)) % len(a.vats)
	e := a.known[from][a.rng.IntN(len(a.known[from]))]
	q, r := a.fresh("q"), a.fresh("r")
	a.say("do %s %s = to_%s.foo %s", a.vats[vat], q, a.vats[from], e.name)
	a.say("do %s %s = %s.cap", a.vats[vat], r, q)
	a.holds[vat] = append(a.holds[vat], entity{r, e.age, vat})
	a.calls = append(a.calls, a.vats[vat]+"."+q)
	// Others can ask for it in turn: it is known by its name here.
	a.known[vat] = append(a.known[vat], entity{r, e.age, vat})
}

// bar makes an object wherever the reference leads.
func (a *author) bar(vat int) {
	e, ok := a.pick(vat)
	if !ok {
		return
	}
	q, r := a.fresh("q"), a.fresh("r")
	a.say("do %s %s = %s.bar made%d", a.vats[vat], q, e.name, a.last)
	a.say("do %s %s = %s.cap", a.vats[vat], r, q)
	a.holds[vat] = append(a.holds[vat], entity{r, a.last, vat})
	a.calls = append(a.calls, a.vats[vat]+"."+q)
}

func (a *author) pick(vat int) (entity, bool) {
	if len(a.holds[vat]) == 0 {
		return entity{}, false
	}
	return a.holds[vat][a.rng.IntN(len(a.holds[vat]))], true
}

func (a *author) call(vat int) {
	e, ok := a.pick(vat)
	if !ok {
		return
	}
	key := a.vats[vat] + "/" + e.name
	a.count[key]++
	q := a.fresh("q")
	a.say("do %s %s = %s.creek %s %d", a.vats[vat], q, e.name, key, a.count[key])
	a.calls = append(a.calls, a.vats[vat]+"."+q)
}

func (a *author) resolveOne() {
	if len(a.open) == 0 {
		return
	}
	i := a.rng.IntN(len(a.open))
	p := a.open[i]
	var older []entity
	for _, e := range a.holds[p.vat] {
		if e.age < p.age {
			older = append(older, e)
		}
	}
	if len(older) == 0 {
		return
	}
	a.open = append(a.open[:i], a.open[i+1:]...)
	a.say("do %s resolve %s %s", a.vats[p.vat], p.name, older[a.rng.IntN(len(older))].name)
}

func (a *author) toggleLink() {
	i := a.rng.IntN(len(a.vats))
	j := (i + 1 + a.rng.IntN(len(a.vats)-1)) % len(a.vats)
	l := a.vats[i] + ">" + a.vats[j]
	a.say("%s %s", map[bool]string{false: "hold", true: "free"}[a.held[l]], l)
	a.held[l] = !a.held[l]
}

// drop lets go of a reference that nobody can ask for.
func (a *author) drop(vat int) {
	for i, e := range a.holds[vat] {
		if e.age == a.last || a.isKnown(e) || a.rng.IntN(2) == 0 {
			continue
		}
		a.say("do %s drop %s", a.vats[vat], e.name)
		a.holds[vat] = append(a.holds[vat][:i:i], a.holds[vat][i+1:]...)
		return
	}
}

func (a *author) isKnown(e entity) bool {
	for _, k := range a.known[e.vat] {
		if k.name == e.name {
			return true
		}
	}
	return false
}

// finish resolves what is left to the oldest that there is, and frees all.
func (a *author) finish() {
	for _, p := range a.open {
		a.say("do %s resolve %s %s", a.vats[p.vat], p.name, a.known[p.vat][0].name)
	}
	for _, l := range sortedKeys(a.held) {
		a.say("free %s", l)
	}
	a.say("settle")
	for _, c := range a.calls {
		a.say("must %s returned", c)
	}
	a.say("must all ordered")
	a.say("end")
}

func TestRandomScripts(t *testing.T) {
	n := *scripts
	if testing.Short() {
		n = min(n, 10)
	}
	for i := range n {
		seed := uint64(i + 1)
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { runRandom(t, seed) }) {
			return
		}
	}
}

func runRandom(t *testing.T, seed uint64) {
	s := writeScript(seed)
	if *keepFails != "" {
		// Before the run, for a deadlock ends the process.
		check(os.WriteFile(*keepFails, []byte(strings.Join(s.lines, "\n")+"\n"), 0o644))
	}
	synctest.Test(t, func(t *testing.T) {
		if _, err := newStage(t, newDice(seed)).run(s); err != nil {
			t.Errorf("%v\n%s", err, strings.Join(s.lines, "\n"))
		}
	})
}

// TestFile runs the script that -file names, under some schedules: for one that was kept.
func TestFile(t *testing.T) {
	if *file == "" {
		t.Skip("no -file")
	}
	runSchedules(t, readScript(t, *file))
}
