//go:build sim

package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// oracle knows of each reference which calls were made, delivered and answered.
type oracle struct {
	w *world

	mu      sync.Mutex
	objects uint32
	refs    map[uint32]*history
}

// history is what became of the calls on one reference. Calls are numbered from 1.
type history struct {
	made    uint32
	last    uint32 // delivered
	object  uint32 // where to
	got     []uint32
	excused map[uint32]bool // it may be lost: its caller gave up
	about   string
}

func (o *oracle) init(w *world) {
	o.w, o.refs = w, map[uint32]*history{}
}

func (o *oracle) newObject() uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.objects++
	return o.objects
}

func (o *oracle) of(ref uint32) *history {
	h := o.refs[ref]
	if h == nil {
		h = &history{excused: map[uint32]bool{}}
		o.refs[ref] = h
	}
	return h
}

// born notes where a reference comes from.
func (o *oracle) born(ref uint32, format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of(ref).about = fmt.Sprintf(format, args...)
}

func (o *oracle) made(ref, seq uint32, excused bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.of(ref)
	h.made = seq
	if excused {
		h.excused[seq] = true
	}
}

func (o *oracle) delivered(object, ref, seq uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.of(ref)
	if *traced {
		fmt.Printf("object %d runs note %d.%d\n", object, ref, seq)
	}
	h.got = append(h.got, seq)
	switch {
	case seq <= h.last:
		o.w.fail("call %d on reference %d was delivered after %d: %v (%s)", seq, ref, h.last, h.got, h.about)
	case h.object != 0 && h.object != object:
		o.w.fail("reference %d leads to object %d, and to %d: %v (%s)", ref, h.object, object, h.got, h.about)
	}
	h.last, h.object = max(h.last, seq), object
}

// answered notes how a call ended, and says whether it may.
func (o *oracle) answered(ref, seq uint32, err error, wantFailure bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.of(ref)
	got := slices.Contains(h.got, seq)
	switch {
	case h.excused[seq] || o.w.plan.trouble == breaks && err != nil:
	case err == nil && (wantFailure || !got):
		o.w.fail("call %d on reference %d has succeeded (delivered: %v) (%s)", seq, ref, got, h.about)
	case err != nil && !wantFailure:
		o.w.fail("call %d on reference %d has failed (delivered: %v): %v (%s)", seq, ref, got, err, h.about)
	case err != nil && wantFailure && !strings.Contains(err.Error(), "on purpose"):
		o.w.fail("call %d on reference %d has failed of something else (delivered: %v): %v (%s)", seq, ref, got, err, h.about)
	}
}

// end looks for calls that were lost.
func (o *oracle) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w.plan.trouble == breaks {
		return
	}
	for ref, h := range o.refs {
		for seq := range h.made {
			if !h.excused[seq+1] && !slices.Contains(h.got, seq+1) {
				o.w.fail("call %d of %d on reference %d was lost (%s)", seq+1, h.made, ref, h.about)
			}
		}
	}
}
