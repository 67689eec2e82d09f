package sim

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"capnproto.org/go/capnp/v3/exc"
)

// oracle knows what the application did, and what it heard: of each reference, which calls were made, delivered and
// answered. It knows nothing of vats.
type oracle struct {
	fail   func(format string, args ...any)
	breaks bool // promises are broken on purpose

	mu      sync.Mutex
	faults  int // cuts and crashes so far
	objects uint32
	refs    map[uint32]*history
}

// history is what became of the calls on one reference. Calls are numbered from 1.
type history struct {
	made    uint32
	last    uint32 // delivered
	object  uint32 // where to
	got     []uint32
	lost    map[uint32]bool // failed, and explained
	excused map[uint32]bool // it may be lost: its caller gave up
	about   string
}

func (o *oracle) init(fail func(string, ...any), breaks bool) {
	o.fail, o.breaks, o.refs = fail, breaks, map[uint32]*history{}
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
		h = &history{excused: map[uint32]bool{}, lost: map[uint32]bool{}}
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

// fault notes that a link was cut, or a vat has crashed.
func (o *oracle) fault() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.faults++
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
		o.fail("call %d on reference %d was delivered after %d: %v (%s)", seq, ref, h.last, h.got, h.about)
	case h.object != 0 && h.object != object:
		o.fail("reference %d leads to object %d, and to %d: %v (%s)", ref, h.object, object, h.got, h.about)
	}
	h.last, h.object = max(h.last, seq), object
}

// explained says whether something that was done on purpose accounts for err.
func (o *oracle) explained(err error) bool {
	if o.faults > 0 && exc.TypeOf(err) == exc.Disconnected {
		return true
	}
	return o.breaks && strings.Contains(err.Error(), "broken on purpose")
}

// answered notes how a call ended, and says whether it may.
func (o *oracle) answered(ref, seq uint32, err error, wantFailure bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.of(ref)
	got := slices.Contains(h.got, seq)
	switch {
	case h.excused[seq]:
	case err != nil && o.explained(err):
		h.lost[seq] = true
	case err == nil && (wantFailure || !got):
		o.fail("call %d on reference %d has succeeded (delivered: %v) (%s)", seq, ref, got, h.about)
	case err != nil && !wantFailure:
		o.fail("call %d on reference %d has failed (delivered: %v): %v (%s)", seq, ref, got, err, h.about)
	case err != nil && wantFailure && !strings.Contains(err.Error(), "on purpose"):
		o.fail("call %d on reference %d has failed of something else (delivered: %v): %v (%s)", seq, ref, got, err, h.about)
	}
}

// asked notes how a call ended that was to return a capability.
func (o *oracle) asked(what string, ref uint32, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil && !o.explained(err) {
		o.fail("%s on reference %d has failed: %v (%s)", what, ref, err, o.of(ref).about)
	}
}

// end looks for calls that were lost without a word.
func (o *oracle) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for ref, h := range o.refs {
		for i := range h.made {
			if seq := i + 1; !h.excused[seq] && !h.lost[seq] && !slices.Contains(h.got, seq) {
				o.fail("call %d of %d on reference %d was lost (%s)", seq, h.made, ref, h.about)
			}
		}
	}
}
