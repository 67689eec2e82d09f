package main

import (
	"encoding/json"
	"io"
	"sync/atomic"
)

// maxReports bounds what a player has to say and nobody has read yet. A whole demo is a tenth of it.
const maxReports = 4096

// reporter writes a player's reports, in the order in which they were made. Making one never blocks, for a
// vat's tap must not; what does not fit is counted, and the count reported.
type reporter struct {
	queue chan report
	lost  atomic.Int64
	ended chan struct{} // closed when the last report is written, or writing failed
}

func newReporter(w io.Writer) *reporter {
	r := &reporter{queue: make(chan report, maxReports), ended: make(chan struct{})}
	go r.write(w)
	return r
}

// say may be called by many goroutines at once, but not after close.
func (r *reporter) say(rep report) {
	select {
	case r.queue <- rep:
	default:
		r.lost.Add(1)
	}
}

// close waits until all that was said is written.
func (r *reporter) close() {
	close(r.queue)
	<-r.ended
}

func (r *reporter) write(w io.Writer) {
	defer close(r.ended)
	lines := json.NewEncoder(w)
	broken := false
	for rep := range r.queue {
		if lost := int(r.lost.Swap(0)); lost > 0 && !broken {
			broken = lines.Encode(report{Lost: lost}) != nil
		}
		if !broken {
			broken = lines.Encode(rep) != nil // the director is gone: so will the player be, its input ends, too
		}
	}
}
