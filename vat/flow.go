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

// admit counts c, which came in m, and uncounts it when its parameters are released; or says why it cannot be taken.
func (f *flow) admit(v *Vat, c *call, m *capnp.Message) error {
	size := messageSize(m)
	calls, bytes := f.calls.Add(1), f.bytes.Add(size)
	c.from, c.size = f, size
	switch l := v.limits; {
	case calls > int64(l.Calls):
		return v.beyondLimit("Calls", l.Calls, "calls that run or wait")
	case bytes > int64(l.CallBytes):
		return v.beyondLimit("CallBytes", l.CallBytes, "bytes of calls that run or wait")
	}
	return nil
}

// What is kept of a message counts with its bytes and this, for the message itself and for each capability in it:
// about what they take up here, however few bytes they were on the wire.
const (
	messageBytes    = 256
	capabilityBytes = 1024
)

// messageSize is what m counts for, which may be nil.
func messageSize(m *capnp.Message) int64 {
	size := int64(messageBytes)
	if m == nil {
		return size
	}
	if n, err := m.TotalSize(); err == nil {
		size += int64(n)
	}
	return size + capabilityBytes*int64(m.CapTable().Len())
}

// resultRoom takes res, which may be an exception, into account as results that the peer has to finish, or frees it
// and is the exception to return instead.
func (s *session) resultRoom(id uint32, res result) result {
	size := int(messageSize(res.content.Message()))
	if res.err != nil {
		size = messageBytes + len(res.err.Error())
	}
	if max := s.vat.limits.ResultBytes; s.resultBytes+size > max {
		s.emit(letGo(func() { s.vat.later(res.free) }))
		return result{err: s.vat.beyondLimit("ResultBytes", max, "bytes of results that are not finished")}
	}
	s.resultBytes += size
	s.answers.visit(id, func(a *answer) { a.size = size })
	return res
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
	case fixedRef:
		return sessionOf(to.roadNow())
	case answerRoad:
		return sessionOf(to.current())
	case callersOf:
		return sessionOf(to.callersGo())
	}
	return nil
}
