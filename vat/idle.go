package vat

import (
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/transport"
)

// A session of which neither side holds anything is at rest. One that was made for a bootstrap capability and
// nothing else (DialTwoParty) ends then; any other when it has been at rest for Limits.Idle, and is made anew on
// demand.
//
// Nothing is lost by that. Of ours: it ends only if nothing waits in its mailbox, and in one step with that is taken
// out of the vat's sessions; who comes to post just then is refused, and asks a new one. Of the peer's: it may have
// asked something that we have not read. So the Abort says that we were at rest, and the peer, which keeps what it
// has sent since it was at rest itself until it hears from us, sends that again in a new session. Neither dials the
// other while the old connection is there, for on the new one what the Abort says would be overtaken.

// unused says whether neither side holds anything of the other.
func (s *session) unused() bool {
	return s.questions.len()+s.answers.len()+s.imports.len()+s.exports.len()+s.embargoes.len()+len(s.left) == 0
}

// rested is the news that a session has been at rest for Limits.Idle, unless it has not: rest counts.
type rested struct{ rest int }

// afterTurn ends a session that is at rest, now or later.
func (a *sessionActor) afterTurn() {
	s := a.s
	switch {
	case a.link == nil || s.end.Load() != nil:
	case !s.unused():
		a.stir()
	case s.transient:
		a.link.finish()
		a.close(disconnected("nothing of %s was used any more", s.peer.Short()), nil)
	default:
		a.unread.begin()
		if a.idle == nil {
			a.rest++
			m := &rested{a.rest}
			a.idle = time.AfterFunc(s.vat.limits.Idle, func() { s.tell(m) })
		}
	}
}

// stir ends the rest of a session.
func (a *sessionActor) stir() {
	if a.idle != nil {
		a.idle.Stop()
		a.idle = nil
	}
}

// idled ends the session if it has rested long enough.
func (a *sessionActor) idled(m *rested) {
	s := a.s
	if m.rest != a.rest || a.idle == nil || !s.vat.retire(s, a.link.gone) {
		return
	}
	s.vat.exceeded("Idle")
	var abort error
	if s.has(transport.FeatureHandoff) {
		abort = disconnected(transport.AbortIdle)
	} else {
		a.link.finish() // a peer of level 1 would take an Abort for a fault
	}
	a.close(disconnected("nothing of %s was used for %v: Limits.Idle", s.peer.Short(), s.vat.limits.Idle), abort)
}

// peerIdled is how a session ends when the peer was at rest.
type peerIdled struct{ error }

// isIdle says whether an Abort says that the peer was at rest.
func isIdle(err error) bool {
	return exc.TypeOf(err) == exc.Disconnected && err.Error() == transport.AbortIdle
}

// peerRested: the peer has ended the session, and has read nothing of what we sent since we were at rest.
func (a *sessionActor) peerRested() {
	s := a.s
	switch {
	case s.unused() && s.vat.retire(s, a.link.gone):
		a.close(disconnected("%s had no use of the session", s.peer.Short()), nil)
	case a.unread.complete && !a.again:
		a.again = true
		a.dialAgain(0)
	default:
		a.close(disconnected("%s ended the session, for it had no use of it", s.peer.Short()), nil)
	}
}

// dialAgain takes a session back to dialing, after a while, with what it has sent and the peer has not read.
func (a *sessionActor) dialAgain(after time.Duration) {
	s := a.s
	s.vat.mu.Lock()
	s.dialed = true
	s.vat.mu.Unlock()
	s.confirmed.Store(false)
	s.hello.Store(nil)
	a.stir()
	a.stopLink()
	s.vat.redial(s, after)
}

// unread is what was sent and, by all that we know, not read by the peer: complete from when the session was made,
// or at rest, to the next frame of the peer's.
type unread struct {
	complete bool
	sent     []*capnp.Message
	bytes    int
}

func (u *unread) begin() { *u = unread{complete: true} }

// heard: what was sent may have been read.
func (u *unread) heard() { *u = unread{} }

// add keeps a message of size bytes, if it is wanted. Beyond max nothing is kept, 0 for no limit.
func (u *unread) add(m *capnp.Message, size, max int) (kept bool) {
	if !u.complete {
		return false
	}
	if u.bytes += size; max > 0 && u.bytes > max {
		u.heard()
		return false
	}
	u.sent = append(u.sent, m)
	return true
}

// retire takes s, of which nothing is used, out of the vat's sessions, unless something has just been posted to it.
// gone is closed with its connection.
func (v *Vat) retire(s *session, gone latch) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sessions[s.peer] != s || !s.queue.CloseIfEmpty() {
		return false
	}
	s.retired.Store(true)
	delete(v.sessions, s.peer)
	v.leaving[s.peer] = gone
	return true
}

// left notes that a connection of s is gone.
func (v *Vat) left(s *session, gone latch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.leaving[s.peer] == gone {
		delete(v.leaving, s.peer)
	}
	close(gone)
}

// ask has post put a first message to the session with peer, which is made if there is none. Where that ends before
// it takes the message, for lack of use, a new one is asked.
func (v *Vat) ask(peer transport.VatID, addrs []string, post func(*session) error) (*session, error) {
	s := v.session(peer, addrs)
	err := post(s)
	if err != nil && s.retired.Load() {
		s = v.session(peer, addrs)
		err = post(s)
	}
	return s, err
}
