package vat

import "sync"

// A gate stands at the head of a road that leads through the mailbox of a session, and lets the road be cut short
// once nothing that matters lies on the way.
//
// A reference takes such a short cut when it settles, but a pin stays on the road for ever. If the pinned road
// went on through the mailbox, what is put on it could be overtaken by what a peer calls on the capability
// itself, which it has been told is the same. So both are cut short together, in the same two steps.
//
// States: open (what is put goes into the mailbox); keeping (it waits here, until a marker has come through the
// mailbox); short (it goes straight to where the road ends).
//
// Open and undecided: the road may yet lead elsewhere, so what the mailbox takes no more is kept for that.
type gate struct {
	mu        sync.RWMutex
	keeps     bool
	undecided bool
	held      []parcel
	end       road // short
}

// put has p go where the gate leads at the moment; mailbox enqueues, or says why it cannot. It runs nothing.
func (g *gate) put(p parcel, mailbox func(parcel) error) {
	g.mu.RLock()
	if !g.keeps && (g.end != nil || !g.undecided) {
		g.pass(p, mailbox)
		g.mu.RUnlock()
		return
	}
	if !g.keeps && mailbox(p) == nil {
		g.mu.RUnlock()
		return
	}
	g.mu.RUnlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keeps || g.end == nil && g.undecided {
		g.keeps = true
		g.held = append(g.held, waiting(p))
		return
	}
	g.pass(p, mailbox)
}

func (g *gate) pass(p parcel, mailbox func(parcel) error) {
	if g.end != nil {
		g.end.put(p)
	} else if err := mailbox(p); err != nil {
		p.reject(err)
	}
}

// decide says that the road leads through the mailbox, and to nowhere if that is closed.
func (g *gate) decide() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.undecided = false
}

// keepBack has all that is put from now on wait.
func (g *gate) keepBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keeps = true
}

// cutShort lets through what waits, and has the road end at to, which the caller holds for as long as the road is
// in use.
func (g *gate) cutShort(to road) {
	g.mu.Lock()
	for _, p := range g.held {
		to.put(p)
	}
	g.held, g.keeps, g.undecided, g.end = nil, false, false, to
	g.mu.Unlock()
	to.wake()
}

// short is where the road ends, nil if it still leads through the mailbox.
func (g *gate) short() road {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.end
}
