package sim

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/simapi"
)

// drive is one goroutine of local code of the member's vat.
func (m *member) drive(r *rand.Rand) {
	for _, other := range m.w.members {
		if other != m && r.IntN(2) == 0 {
			m.add(simapi.Node(m.now().Bootstrap(forever, id(other.name))), 0, "bootstrap")
		}
	}
	for range m.w.plan.steps {
		m.step(r)
		m.w.pause(time.Duration(r.IntN(900)) * time.Microsecond)
	}
}

// step does one thing with one reference.
func (m *member) step(r *rand.Rand) {
	x := m.out(math.MaxUint64)
	defer func() {
		if x != nil {
			m.back(x)
		}
	}()
	switch n := r.IntN(100); {
	case n < 50:
		for range 1 + r.IntN(8) {
			m.note(r, x)
			m.linger(r)
		}
	case n < 60:
		given, height := m.copyOf(math.MaxUint64)
		placed := false // not where the reference is known to be broken
		ans, release := x.node.Give(forever, func(p simapi.Node_give_Params) error {
			placed = true
			p.SetHeight(height)
			return p.SetNode(given)
		})
		if !placed {
			given.Release()
		}
		m.w.answers.Go(func() { _, _ = ans.Struct(); release() })
	case n < 92:
		m.ask(r, x, n)
	case n < 95:
		number := m.w.heights.Add(1)
		m.add(m.promise(number), number, "promise")
	case n < 98:
		m.add(x.node.AddRef(), x.height, fmt.Sprintf("again %d", x.id))
	default:
		x.node.Release()
		x = nil
	}
}

// linger waits between two calls on one reference about as long as a message takes.
func (m *member) linger(r *rand.Rand) {
	if r.IntN(3) == 0 {
		m.w.pause(time.Duration(r.IntN(250)) * time.Microsecond)
	}
}

// note makes one numbered call.
func (m *member) note(r *rand.Rand, x *ref) {
	x.seq++
	seq, id := x.seq, x.id
	mood, canceled := simapi.Node_Mood_plain, false
	switch n := r.IntN(40); {
	case n < 4:
		mood = simapi.Node_Mood_slow
	case m.w.plan.trouble >= calls && n < 6 && !m.w.plan.native:
		mood = simapi.Node_Mood_panics
	case m.w.plan.trouble >= calls && n < 8:
		mood = simapi.Node_Mood_fails
	case m.w.plan.trouble >= calls && n < 11:
		canceled = true
	}
	m.w.oracle.made(id, seq, canceled)
	ctx, cancel := context.WithCancel(forever)
	ans, release := x.node.Note(ctx, func(p simapi.Node_note_Params) error {
		p.SetRef(id)
		p.SetSeq(seq)
		p.SetMood(mood)
		return nil
	})
	if canceled && r.IntN(2) == 0 {
		release() // cancels, too
	}
	m.w.answers.Go(func() {
		defer release()
		defer cancel()
		if canceled {
			runtime.Gosched()
			cancel()
		}
		_, err := ans.Struct()
		m.w.oracle.answered(id, seq, err, mood >= simapi.Node_Mood_panics)
	})
}

// ask makes a call that returns a capability: it is used from now on, by way of the answer, or once it is here.
func (m *member) ask(r *rand.Rand, x *ref, n int) {
	height := m.w.heights.Add(1)
	below := height - 1
	if r.IntN(3) == 0 {
		below = 0
	}
	ctx, cancel := context.WithCancel(forever)
	if m.w.plan.fronts && r.IntN(3) == 0 {
		n = fronting
	}
	q := m.asking(ctx, x, n, height, below)
	y := &ref{id: m.w.refs.Add(1), height: height, life: x.life}
	m.w.oracle.born(y.id, "at %s, by %s on %d", m.name, q.what, x.id)
	canceled := false
	if r.IntN(3) > 0 {
		y.node = q.future().AddRef()
		for range r.IntN(6) {
			m.note(r, y)
			m.linger(r)
		}
		m.back(y)
	} else if m.w.plan.fronts && m.w.plan.trouble >= calls {
		canceled = r.IntN(4) == 0
	}
	linger := time.Duration(r.IntN(1500)) * time.Microsecond
	late := !y.node.IsValid()
	if canceled {
		m.w.answers.Go(func() {
			m.w.pause(linger)
			cancel()
		})
	}
	m.w.answers.Go(func() {
		defer q.release()
		defer cancel()
		n, err := q.result()
		if !canceled {
			m.w.oracle.asked(q.what, x.id, err)
		}
		if late && err == nil {
			y.node = n.AddRef()
			m.back(y)
		}
		m.w.pause(linger)
	})
}

// asked is a call that returns a capability.
type asked struct {
	what    string
	future  func() simapi.Node
	result  func() (simapi.Node, error)
	release capnp.ReleaseFunc
}

// fronting is beyond the draws of step.
const fronting = 100

func (m *member) asking(ctx context.Context, x *ref, n int, height, below uint64) asked {
	switch {
	case n < 70:
		f, release := x.node.Take(ctx, func(p simapi.Node_take_Params) error { p.SetBelow(below); return nil })
		return askedFor("take", f, release)
	case n < 76:
		given, _ := m.copyOf(below)
		placed := false
		f, release := x.node.Pass(ctx, func(p simapi.Node_pass_Params) error { placed = true; return p.SetNode(given) })
		if !placed {
			given.Release()
		}
		return askedFor("pass", f, release)
	case n < 82:
		f, release := x.node.Make(ctx, nil)
		return askedFor("make", f, release)
	case n < 87:
		f, release := x.node.Late(ctx, func(p simapi.Node_late_Params) error { p.SetNumber(height); return nil })
		return askedFor("late", f, release)
	case n < fronting:
		f, release := x.node.Slow(ctx, func(p simapi.Node_slow_Params) error { p.SetBelow(below); return nil })
		return askedFor("slow", f, release)
	}
	given, _ := m.copyOf(below)
	placed := false
	f, release := x.node.Front(ctx, func(p simapi.Node_front_Params) error { placed = true; return p.SetNode(given) })
	if !placed {
		given.Release()
	}
	return askedFor("front", f, release)
}

func askedFor[F interface {
	Node() simapi.Node
	Struct() (R, error)
}, R interface{ Node() simapi.Node }](what string, f F, release capnp.ReleaseFunc) asked {
	return asked{what, f.Node, func() (simapi.Node, error) { s, err := f.Struct(); return s.Node(), err }, release}
}
