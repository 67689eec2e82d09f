package vat

import (
	"sync"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
)

// A questionRef stands for a question outside the turns of its session: a road to what is pipelined on it,
// and something to hold.
type questionRef struct {
	s     *session
	id    uint32 // known once asked; for turns of s
	asked bool   // for turns of s
	gone  error  // why it never will be, or is no more; for turns of s
	holds atomic.Int32

	mine *question    // memory for its entry; nil for calls
	ctx  *callContext // of the caller, if watched; for turns of s
	next *questionRef // of those that ctx has

	// gate is before the result as a whole, where that is a capability: of a Bootstrap or an Accept.
	gate gate

	// Of an Accept, see vine.go. vine is kept until the question is over and nobody holds it; instead, where what is
	// put on a failed Accept goes, is for turns of s.
	vine    *pin
	instead road

	// What came of a call, and who gets it, between the turn of the Return and its effects.
	to  sink
	res result

	mu       sync.Mutex
	after    []func() // run when the question is over
	deadline *timer   // of an Accept; stopped then
	over     bool
}

// asked is the memory of a question.
type asked struct {
	ref   questionRef
	entry question
}

func newQuestionRef(s *session, holds int32) *questionRef {
	k := new(asked)
	q := &k.ref
	q.s, q.mine = s, &k.entry
	q.holds.Store(holds)
	return q
}

func (q *questionRef) hold() { q.holds.Add(1) }

func (q *questionRef) drop() {
	if n := q.holds.Add(-1); n == 0 {
		q.freeVine()
		if !q.isOver() {
			q.s.tell((*dropQuestion)(q))
		}
	} else if n < 0 {
		panic("vat: question dropped more often than held")
	}
}

func (q *questionRef) isOver() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.over
}

// keep has f run when the question is over: returned and finished, or lost with its session.
func (q *questionRef) keep(f func()) {
	q.mu.Lock()
	over := q.over
	if !over {
		q.after = append(q.after, f)
	}
	q.mu.Unlock()
	if over {
		f()
	}
}

// end says that the question is over: err is what comes of all that is still addressed to it.
func (q *questionRef) end(err error) {
	q.gone = err
	q.mu.Lock()
	after := q.after
	q.after, q.over = nil, true
	if q.deadline != nil {
		q.deadline.Stop()
	}
	q.mu.Unlock()
	for _, f := range after {
		f()
	}
	q.freeVine()
}

// pipelineRoad leads to what path leads to in the results of q: over the wire while they are not here, to the
// capability in them afterwards.
type pipelineRoad struct {
	q    *questionRef
	path []capnp.PipelineOp
}

var _ road = pipelineRoad{}
var _ holder = pipelineRoad{}

func (r pipelineRoad) put(p parcel) {
	if len(r.path) > 0 {
		r.q.s.putParcel(&toPipeline{r.q, r.path, p}, p)
		return
	}
	r.q.gate.put(p, func(p parcel) error { return r.q.s.postOr(&toPipeline{r.q, r.path, p}) })
}

func (r pipelineRoad) wake() {
	r.q.s.wake()
	if to := r.q.gate.short(); to != nil {
		to.wake()
	}
}

func (r pipelineRoad) run() {
	r.q.s.run()
	if to := r.q.gate.short(); to != nil {
		to.wake()
	}
}

func (r pipelineRoad) hold() { r.q.hold() }
func (r pipelineRoad) drop() { r.q.drop() }

type (
	toPipeline struct {
		q    *questionRef
		path []capnp.PipelineOp
		parcel
	}
	dropQuestion   questionRef
	cancelQuestion struct {
		q   *questionRef
		err error
	}
)
