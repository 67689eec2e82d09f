package soak

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/vatwork/vatwork/vat"
)

// A Result is what came of a run.
type Result struct {
	For        time.Duration
	Workers    int
	Calls      uint64
	Failed     map[string]uint64
	Handoffs   vat.Handoffs
	Faults     map[string]int
	Restarts   map[string]int
	Violations []string
	Start, End map[string]Account
}

func (r *Result) init(o Options) {
	r.For, r.Workers = o.For, o.Workers
	r.Failed, r.Faults, r.Restarts = map[string]uint64{}, map[string]int{}, map[string]int{}
	r.Start, r.End = map[string]Account{}, map[string]Account{}
}

// add counts what one process has done.
func (r *Result) add(a Account) {
	r.Calls += a.Calls
	for why, n := range a.Failed {
		r.Failed[why] += n
	}
	r.Handoffs.Accepted += a.Handoffs.Accepted
	r.Handoffs.Vine += a.Handoffs.Vine
	r.Handoffs.Broken += a.Handoffs.Broken
	r.Violations = append(r.Violations, a.Violations...)
}

// goroutinesLeft is how many more there may be at the end than at the start: those of sessions that are idle.
const goroutinesLeft = 16

func (r *Result) note(name string, a Account, first bool) {
	if first {
		r.Start[name] = a
		return
	}
	r.End[name] = a
	r.add(a)
	if !a.Tables.Empty() {
		r.Violations = append(r.Violations, fmt.Sprintf("%s has entries left: %+v", name, a.Tables))
	}
	if was := r.Start[name].Goroutines; a.Goroutines > was+goroutinesLeft {
		r.Violations = append(r.Violations, fmt.Sprintf("%s has %d goroutines, and had %d", name, a.Goroutines, was))
	}
}

// Write writes the result as Markdown.
func (r *Result) Write(w io.Writer) error {
	p := &printer{w: w}
	p.line("Three processes with %d workers each, for %v, on %d cores (%s/%s, %s).",
		r.Workers, r.For, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	p.line("")
	p.line("| what | how often |")
	p.line("| --- | --- |")
	p.line("| calls answered | %d |", r.Calls)
	for _, why := range byCount(r.Failed) {
		p.line("| calls failed: %s | %d |", why, r.Failed[why])
	}
	p.line("| handoffs: picked up at the host | %d |", r.Handoffs.Accepted)
	p.line("| handoffs: calls went on through the introducer | %d |", r.Handoffs.Vine)
	p.line("| handoffs: neither | %d |", r.Handoffs.Broken)
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		p.line("| %s | %d |", kind, r.Faults[kind])
	}
	p.line("| out of order, twice, wrong, unanswered, left over | %d |", len(r.Violations))
	p.line("")
	p.line("| process | restarts | heap in use, start and end, MiB | resident, MiB | goroutines | table entries at the end |")
	p.line("| --- | --- | --- | --- | --- | --- |")
	for _, name := range slices.Sorted(maps.Keys(r.End)) {
		a, b := r.Start[name], r.End[name]
		t := b.Tables
		p.line("| %s | %d | %.1f, %.1f | %.0f, %.0f | %d, %d | %d |", name, r.Restarts[name], a.HeapMB, b.HeapMB, a.RSSMB, b.RSSMB,
			a.Goroutines, b.Goroutines, t.Questions+t.Answers+t.Imports+t.Exports+t.Embargoes+t.Provisions+t.Promises)
	}
	for _, v := range r.Violations {
		p.line("\n- %s", v)
	}
	return p.err
}

// byCount orders what is most frequent first.
func byCount(m map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
