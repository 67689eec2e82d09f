package vat

import (
	"context"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
)

// flow counts the calls of one peer that run or wait here, and the bytes of their parameters: from when they come
// until the parameters are released. Beyond the limits a call is answered overloaded, and the session goes on
// reading: a Return, Finish, Release, Resolve or Disembargo may be what the other side waits for.
type flow struct {
	calls, bytes atomic.Int64
}

// admit counts c, and uncounts it when its parameters are released; or says why it cannot be taken.
func (f *flow) admit(v *Vat, c *call) error {
	size := messageSize(c.args)
	calls, bytes := f.calls.Add(1), f.bytes.Add(size)
	release := c.release
	c.release = func() {
		release()
		f.calls.Add(-1)
		f.bytes.Add(-size)
	}
	switch l := v.limits; {
	case calls > int64(l.Calls):
		return v.beyondLimit("Calls", l.Calls, "calls that run or wait")
	case bytes > int64(l.CallBytes):
		return v.beyondLimit("CallBytes", l.CallBytes, "bytes of calls that run or wait")
	}
	return nil
}

func messageSize(args capnp.Struct) int64 {
	if msg := args.Message(); msg != nil {
		if n, err := msg.TotalSize(); err == nil {
			return int64(n)
		}
	}
	return 0
}

// awaitRoom blocks a local caller while what was written to the peer has not been taken by the network, until
// ctx ends: then it is the error. Never within a turn.
func (s *session) awaitRoom(ctx context.Context) error {
	if l := s.link.Load(); l != nil && !l.actor.AwaitRoom(ctx, s.vat.limits.QueueBytes) {
		s.vat.exceeded("QueueBytes")
		return callerError(ctx)
	}
	return nil
}

// sessionOf is the session onto whose wire to leads, or nil.
func sessionOf(to road) *session {
	switch to := to.(type) {
	case *importRef:
		return to.s
	case pipelineRoad:
		return to.q.s
	case *reference:
		return sessionOf(to.roadNow())
	case answerRoad:
		return sessionOf(to.current())
	}
	return nil
}
