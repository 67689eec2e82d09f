package vat

import (
	"time"

	"github.com/vatwork/vatwork/transport"
)

// A session that is said to be dead is not believed to be: it has to show. A question is put to the peer, and if
// nothing at all has come from it within Limits.Probe, the session ends. Any message counts as a sign of life,
// whatever it answers: a peer with a long queue is alive too.

// Suspect has the session with peer, if there is an open one, end with reason unless the peer gives a sign of life
// within Limits.Probe, or within twice that where it is being asked for one already. It does not wait for that. For
// news that may be false or late: that memberlist no longer reaches a member, which every member can claim of every
// other, or that a vat has been started anew.
func (v *Vat) Suspect(peer transport.VatID, reason string) {
	v.mu.Lock()
	s := v.sessions[peer]
	v.mu.Unlock()
	if s != nil {
		s.tell(&suspected{reason})
	}
}

type (
	suspected struct{ reason string }
	// verdict is due when the time for a sign of life is over: heard is how many messages had come before.
	verdict struct {
		reason string
		heard  uint64
	}
)

// probe asks for a sign of life.
func (a *sessionActor) probe(m *suspected) {
	s := a.s
	if s.hello.Load() == nil {
		return
	}
	if a.probing {
		a.suspicion = m // a sign of life may have come before this one arose
		return
	}
	a.probing = true
	a.askForSign()
	late := &verdict{m.reason, s.heard}
	time.AfterFunc(s.vat.limits.Probe, func() { s.tell(late) })
}

// askForSign asks the peer something that every vat answers at once.
func (a *sessionActor) askForSign() {
	s := a.s
	a.attempt(func() error {
		q := newWholeRef(s)
		c, ref := s.vat.newReference(pipelineRoad{q: q}, true)
		s.sendBootstrap(&askBootstrap{q, ref})
		s.emit(letGo(func() { s.vat.later(c.Release) }))
		return nil
	})
}

func (a *sessionActor) judge(m *verdict) {
	a.probing = false
	if a.s.heard != m.heard || a.s.hello.Load() == nil {
		if next := a.suspicion; next != nil {
			a.suspicion = nil
			a.probe(next)
		}
		return
	}
	a.s.vat.exceeded("Probe")
	why := disconnected("%s, and %s gave no sign of life within %v: Limits.Probe", m.reason, a.s.peer.Short(), a.s.vat.limits.Probe)
	a.close(why, why)
}
