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
	holds atomic.Int32
	gone  error     // why it never will be asked, or is no more; for turns of s
	entry *question // once asked, or memory for it; for turns of s, and their effects
	asked bool      // for turns of s

	over  bool // mu protects this
	mu    sync.Mutex
	after []func() // run when the question is over

	ctx  *callContext // of the caller, if watched; for turns of s
	next *questionRef // of those that ctx has

	whole *wholeResult // nil unless it has one
}

// A wholeResult is what comes of a Bootstrap or an Accept: a capability, and no struct with capabilities.
type wholeResult struct {
	gate gate // before it

	// Of an Accept, see vine.go. vine is kept until the question is over and nobody holds it; the deadline is stopped when
	// the question is over. The rest is for turns of the session.
	vine     *pin
	deadline *timer
	instead  road           // where what is put on it goes once it has failed
	sent     []*questionRef // until it has returned: the calls that were sent on it and are open, in order
	used     bool           // a call was ever sent on it
}

// asked is the memory of a question.
type asked struct {
	ref   questionRef
	entry question
}

func newQuestionRef(s *session, holds int32) *questionRef { return new(asked).init(s, holds) }

func (k *asked) init(s *session, holds int32) *questionRef {
	q := &k.ref
	q.s, q.entry = s, &k.entry
	q.holds.Store(holds)
	return q
}

// newWholeRef is newQuestionRef for a Bootstrap or an Accept.
func newWholeRef(s *session) *questionRef {
	k := new(struct {
		asked
		whole wholeResult
	})
	k.ref.whole = &k.whole
	return k.init(s, 1)
}

func (q *questionRef) hold() { q.holds.Add(1) }

func (q *questionRef) drop() {
	if q.dropped() {
		q.s.wake()
	}
}

// dropAndRun is drop for who may run turns of the session.
func (q *questionRef) dropAndRun() {
	if q.dropped() {
		q.s.run()
	}
}

// dropped says whether the session has something to do about it.
func (q *questionRef) dropped() bool {
	n := q.holds.Add(-1)
	if n < 0 {
		panic("vat: question dropped more often than held")
	}
	if n > 0 {
		return false
	}
	q.freeVine()
	return !q.isOver() && q.s.post((*dropQuestion)(q))
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
	if w := q.whole; w != nil && w.deadline != nil {
		w.deadline.Stop()
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
	q       *questionRef
	path    []capnp.PipelineOp
	follows bool // of local callers, who follow on from what came of it
}

var _ road = pipelineRoad{}
var _ holder = pipelineRoad{}

func (r pipelineRoad) put(p parcel) {
	w := r.q.whole
	if w == nil || len(r.path) > 0 {
		r.q.s.putParcel(&toPipeline{r, p}, p)
		return
	}
	w.gate.put(p, func(p parcel) error { return r.q.s.postOr(&toPipeline{r, p}) })
}

func (r pipelineRoad) wake() {
	r.q.s.wake()
	r.wakeShort()
}

func (r pipelineRoad) run() {
	r.q.s.run()
	r.wakeShort()
}

func (r pipelineRoad) wakeShort() {
	if w := r.q.whole; w != nil {
		if to := w.gate.short(); to != nil {
			to.wake()
		}
	}
}

func (r pipelineRoad) hold() { r.q.hold() }
func (r pipelineRoad) drop() { r.q.drop() }

type (
	toPipeline struct {
		pipelineRoad
		parcel parcel
	}
	dropQuestion   questionRef
	cancelQuestion struct {
		q   *questionRef
		err error
	}
)
