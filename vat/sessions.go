package vat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"capnproto.org/go/capnp/v3/exc"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// A latch is closed once, when what it stands for has happened.
type latch chan struct{}

// session is the session with peer, made and dialed if there is none. What is posted to it waits until it is
// open; it ends if it cannot be.
func (v *Vat) session(peer transport.VatID, addrs []string) *session {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sessions[peer]; s != nil {
		s.addAddrs(addrs)
		return s
	}
	s := v.newSessionLocked(peer, addrs, true)
	s.after = v.leaving[peer]
	if s.end.Load() != nil {
		return s
	}
	if peer == v.ID() {
		s.tell(&endSession{failed("%s is this vat itself", peer.Short())})
		return s
	}
	v.goroutines.Add(1)
	go v.dial(s)
	return s
}

func (v *Vat) newSessionLocked(peer transport.VatID, addrs []string, dialed bool) *session {
	a := &sessionActor{cells: actors.NewBrood()}
	s := newSession(v, peer, a)
	s.queue = actors.NewQueue(v.hooks.Dispatcher).By(&v.runners)
	s.addrs, s.dialed = addrs, dialed
	a.s = s
	if v.closed {
		s.refuse(disconnected("the vat is closed"))
		return s
	}
	if err := v.closingError(); err != nil && !dialed {
		s.refuse(err)
		return s
	}
	if max := v.limits.Sessions; len(v.ending) >= max {
		s.refuse(v.beyondLimit("Sessions", max, "sessions"))
		return s
	}
	s.name = "session/" + peer.Short() + "-" + v.serialName()
	pid, err := v.spawn(s.name, actor.PropsFromProducer(func() actor.Actor { return a },
		s.queue.Props(), actor.WithSupervisor(actors.StopOnFailure(a.childFailed))))
	if err != nil {
		s.refuse(err)
		return s
	}
	a.pid = pid
	v.sessions[peer] = s
	v.ending[s] = make(chan struct{})
	return s
}

// refuse makes s a session that never was.
func (s *session) refuse(why error) {
	s.end.Store(&why)
	close(s.done)
	s.queue.Close()
}

// forget takes an ended session out of the table.
func (v *Vat) forget(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sessions[s.peer] == s {
		delete(v.sessions, s.peer)
	}
}

// sessionStopped says that the actor of s is no more.
func (v *Vat) sessionStopped(s *session) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.guest {
		v.guests--
	}
	if done, ok := v.ending[s]; ok {
		delete(v.ending, s)
		close(done)
	}
}

// addAddrs notes where the peer may be dialed, besides what is known. The caller holds vat.mu.
func (s *session) addAddrs(addrs []string) {
	for _, a := range addrs {
		if len(s.addrs) < maxAddresses && !slices.Contains(s.addrs, a) {
			s.addrs = append(slices.Clip(s.addrs), a)
		}
	}
}

func (v *Vat) hasSession(peer transport.VatID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sessions[peer] != nil
}

func (v *Vat) addressesOf(peer transport.VatID) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.sessions[peer]; s != nil {
		return s.addrs
	}
	return nil
}

func (v *Vat) dial(s *session) {
	defer v.goroutines.Done()
	ctx, cancel := v.bounded(v.ctx, "Dial", v.limits.Dial)
	defer cancel()
	if s.after != nil {
		select {
		case <-s.after: // the peer is to hear of the end of the old session first
		case <-ctx.Done():
		}
	}
	conn, err := v.reach(ctx, s)
	if err = v.inTime(ctx, err); err != nil {
		if ctx.Err() != nil && v.ctx.Err() == nil {
			v.notReached(s.peer, fmt.Errorf("cannot reach %s: %w", s.peer.Short(), err))
		}
		s.tell(&dialFailed{disconnected("cannot reach %s: %v", s.peer.Short(), err)})
		return
	}
	v.reached(s.peer)
	if !s.post(&opened{conn, true}) {
		conn.Close()
		return
	}
	s.wake()
}

// reach dials the peer of s wherever it may be, and looks again where that fails: it may just have moved.
func (v *Vat) reach(ctx context.Context, s *session) (transport.Conn, error) {
	var tried []string
	var failures []error
	for ctx.Err() == nil {
		addrs := v.untried(s, tried)
		if len(addrs) == 0 {
			break
		}
		conn, err := v.network.Dial(ctx, s.peer, addrs)
		if err == nil {
			return conn, nil
		}
		tried, failures = append(tried, addrs...), append(failures, err)
	}
	if len(tried) == 0 {
		return nil, errors.Join(errors.New("no address is known"), ctx.Err())
	}
	return nil, errors.Join(failures...)
}

// untried is where the peer of s may be besides tried: what the directory says comes first, for it is the newest.
func (v *Vat) untried(s *session, tried []string) (addrs []string) {
	var known []string
	if v.directory != nil {
		known = v.directory.Addresses(s.peer)
	}
	v.mu.Lock()
	known = append(known, s.addrs...)
	v.mu.Unlock()
	for _, addr := range known {
		if !slices.Contains(tried, addr) && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// redial dials again after a while, unless the session has a connection by then.
func (v *Vat) redial(s *session, after time.Duration) {
	v.goroutines.Add(1)
	go func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
		case <-v.ctx.Done():
		}
		if s.hello.Load() != nil || s.end.Load() != nil {
			v.goroutines.Done()
			return
		}
		v.dial(s)
	}()
}

// serve takes connections until the network is closed.
func (v *Vat) serve() {
	defer v.goroutines.Done()
	for {
		conn, err := v.network.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				v.log.Error("the network accepts no more", "err", err)
			}
			return
		}
		v.accepted(conn)
	}
}

// accepted finds the session for a connection that a peer made.
//
// Where both vats dialed at once, the connection of the one with the lower id is kept by both: the lower one
// refuses the other's; the higher one moves its session over, and sends again what it had sent, for the
// lower one has read none of it. Where the session is not one that we dialed, or the peer is another run of
// its vat, a connection means that the peer has lost the session: it is over for us too. A lower one that has heard
// from the peer on its own connection cannot tell one made at once with it from one made since: it refuses, and asks
// for a sign of life, and the peer tries again meanwhile.
func (v *Vat) accepted(conn transport.Conn) {
	peer := conn.Peer()
	v.mu.Lock()
	s := v.sessions[peer.ID]
	if s != nil {
		hello := s.hello.Load()
		sameRun := hello == nil || hello.Epoch == peer.Epoch
		switch {
		case hello != nil && hello.Epoch > peer.Epoch:
			v.mu.Unlock()
			v.turnAway(conn, failed("there is a session with a later run of %s: epoch %d, not %d: its clock was set back, or two processes have its key",
				peer.ID.Short(), hello.Epoch, peer.Epoch))
			s.tell(&suspected{"another run of " + peer.ID.Short() + " has connected"})
			return
		case sameRun && s.dialed && v.ID() < peer.ID:
			v.mu.Unlock()
			v.hangUp(conn)
			if s.confirmed.Load() {
				s.tell(&suspected{peer.ID.Short() + " has connected anew"})
			}
			return
		case !sameRun || !s.dialed || s.confirmed.Load():
			s.tell(&endSession{disconnected("%s has started a new session", peer.ID.Short())})
			delete(v.sessions, peer.ID)
			s = nil
		}
	}
	delete(v.unreached, peer.ID)
	if s == nil {
		s = v.newSessionLocked(peer.ID, nil, false)
	}
	v.mu.Unlock()
	if s.post(&opened{conn, false}) {
		s.wake()
	} else if why := s.why(); exc.TypeOf(why) == exc.Overloaded || v.closingError() != nil {
		v.turnAway(conn, why)
	} else {
		conn.Close()
	}
}
