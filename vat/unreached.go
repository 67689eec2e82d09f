package vat

import (
	"time"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// A peer that nothing is heard of costs whoever dials it the whole of Limits.Dial. For a capability that was handed over,
// and for the answer to a call that was forwarded, there is another way: so such a peer is not dialed for them again
// before Limits.Unreached has passed, or it has connected to us. Who asks for its bootstrap capability has it dialed all
// the same.

// maxUnreached is how many such peers are remembered.
const maxUnreached = 1024

// unreachedPeer is a peer that was dialed in vain for the whole of Limits.Dial.
type unreachedPeer struct {
	until time.Time
	why   error
}

// notReached remembers that peer was dialed in vain.
func (v *Vat) notReached(peer transport.VatID, why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for id, u := range v.unreached {
		if !now.Before(u.until) {
			delete(v.unreached, id)
		}
	}
	if len(v.unreached) >= maxUnreached {
		return
	}
	if v.unreached == nil {
		v.unreached = map[transport.VatID]unreachedPeer{}
	}
	v.unreached[peer] = unreachedPeer{now.Add(v.limits.Unreached), why}
}

// reached forgets that.
func (v *Vat) reached(peer transport.VatID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.unreached, peer)
}

// askReached is ask, but for a peer that lately could not be reached: it is not dialed, unless anyway is set.
func (v *Vat) askReached(peer transport.VatID, addrs []string, anyway bool, post func(*session) error) (*session, error) {
	v.mu.Lock()
	u, known := v.unreached[peer]
	if !known || anyway || v.sessions[peer] != nil || !time.Now().Before(u.until) {
		v.mu.Unlock()
		return v.ask(peer, addrs, post)
	}
	v.mu.Unlock()
	v.exceeded("Unreached")
	s := newSession(v, peer, &sessionActor{})
	s.queue = actors.NewQueue(v.hooks.Dispatcher)
	s.refuse(disconnected("%v; no other attempt is made within %v: Limits.Unreached", u.why, v.limits.Unreached))
	return s, post(s)
}
