package sim

import (
	"math/rand/v2"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// weather holds and frees links, and cuts them and crashes vats where that is planned.
func (w *world) weather(stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(w.plan.seed, 7))
	link := func() *transport.Link {
		i := r.IntN(len(w.members))
		j := (i + 1 + r.IntN(len(w.members)-1)) % len(w.members)
		return w.link(w.members[i], w.members[j])
	}
	for {
		w.dispatcher.sleep(time.Duration(1+r.IntN(800))*time.Microsecond, stop)
		select {
		case <-stop:
			return
		default:
		}
		switch l := link(); {
		case r.IntN(3) == 0:
			l.Hold()
		case w.plan.trouble == breaks && r.IntN(40) == 0:
			w.oracle.fault()
			l.Cut()
		case w.plan.trouble == breaks && r.IntN(60) == 0:
			w.members[r.IntN(len(w.members))].crash(r.IntN(2) == 0)
		default:
			l.Free()
		}
	}
}

func (w *world) link(from, to *member) *transport.Link {
	return w.memory.Link(id(from.name), id(to.name))
}

// crash ends the vat, of which the others hear by a cut if silent, and starts it anew: its local code has nothing of
// what it held.
func (m *member) crash(silent bool) {
	w := m.w
	w.oracle.fault()
	if silent {
		for _, other := range w.members {
			if other != m {
				w.link(m, other).Cut()
			}
		}
	}
	m.mu.Lock()
	old, root, pool := m.vat, m.root, m.pool
	m.life++
	m.pool = nil
	m.mu.Unlock()
	for _, r := range pool {
		r.node.Release()
	}
	old.Close()
	w.ended = append(w.ended, life{m.name, old})
	root.Release()
	m.start()
}
