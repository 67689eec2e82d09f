package vat

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/vatwork/vatwork/transport"
)

// Shutdown ends the vat as Close does, once the calls that are in flight have been answered: those of peers, and those
// of local code to whatever it holds. Meanwhile:
//
//   - A call of a peer's that begins fails with disconnected, and says that the vat is shutting down; but not a call on
//     something that was passed in the parameters of a call of ours which it has not answered.
//   - Connections of peers that have no session yet are refused with an Abort that says so; Bootstrap and the dialing
//     of peers of level 1 fail likewise.
//   - Local code may call what it holds, for methods that run may need that. Such calls are in flight, too.
//
// Whoever watches something (see [Vat.Watch]) is not waited for. When ctx ends first, what is still in flight
// fails as it does with Close, and the error is ctx's cause. Shutdown returns when the vat is closed.
func (v *Vat) Shutdown(ctx context.Context) error {
	v.flights.draining.Store(true)
	var late error
	for late == nil && v.flights.n.Load() > 0 {
		select {
		case <-v.flights.none:
		case <-v.finished:
			return nil
		case <-ctx.Done():
			late = context.Cause(ctx)
		}
	}
	return errors.Join(late, v.Close())
}

// flights counts the calls in flight: of a peer's from when it comes to when its Return goes out, or would, if it was
// returned early or elsewhere; of local code's from when it is made to when its result has been delivered.
type flights struct {
	n        atomic.Int64
	draining atomic.Bool
	none     chan struct{} // gets one when n has come to zero while draining; capacity 1
}

func (f *flights) end() {
	if f.n.Add(-1) > 0 || !f.draining.Load() {
		return
	}
	select {
	case f.none <- struct{}{}:
	default: // it has been told, and looks at n for itself
	}
}

// A flight is one call that is counted, or none.
type flight struct{ of atomic.Pointer[flights] }

// begin counts c, unless it only watches.
func (f *flight) begin(c *call) {
	if c.method.InterfaceID == transport.Watched_TypeID {
		return
	}
	f.of.Store(&c.vat.flights)
	c.vat.flights.n.Add(1)
}

// end may be called more than once.
func (f *flight) end() {
	if f.of.Load() == nil {
		return
	}
	if of := f.of.Swap(nil); of != nil {
		of.end()
	}
}

// closingError is what a call or a connection that comes too late is answered with; nil if the vat is not shutting
// down.
func (v *Vat) closingError() error {
	if !v.flights.draining.Load() {
		return nil
	}
	return disconnected("the vat %s is shutting down", v.ID().Short())
}

// admitLate says why a call of the peer's comes too late. A call back that a call of ours waits for does not.
func (s *session) admitLate(target wireTarget) error {
	err := s.vat.closingError()
	if err == nil || target.onAnswer {
		return err
	}
	s.questions.sorted(func(_ uint32, x *question) {
		for _, id := range x.params {
			if !x.returned && id == target.id {
				err = nil
			}
		}
	})
	return err
}
