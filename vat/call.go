package vat

import (
	"context"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/actors"
)

// A parcel is what travels on a road: a call, or a Disembargo behind calls.
type parcel interface {
	// reject ends a parcel that cannot be delivered. It does not block and enqueues at most.
	reject(err error)
}

// A call is a method call on its way to the object, from local code or from a peer.
//
// It is handed on from road to road and owned by whoever holds it; exactly one of them delivers it
// (to an object, or onto a wire) or rejects it, and that one sees to it that ret is settled once and that
// the parameters are released once.
type call struct {
	vat    *Vat
	ctx    context.Context // done when the caller no longer wants the result
	method capnp.Method
	ret    sink

	// content is in a message of its own, whose table holds the capabilities: the parameters, or, if prepared, a Call with
	// these, which may be sent as it is.
	content capnp.Struct

	// msg is the message of content where that is ours: recycled when the parameters are released.
	msg      *capnp.Message
	released atomic.Bool
	prepared bool
	here     bool // it goes to an object actor, and so never onto a wire

	// Its results may go past us: tail says that this is a tail call; passes that a peer made it on a promise of ours, or
	// on what an answer of ours would hold (Config.ForwardCalls).
	tail, passes bool

	// early is set where the caller was given promises for the results already (see earlyReturn).
	early *earlyReturn

	release func()
	from    *flow // where it is counted, with that size, until the parameters are released
	size    int64

	// What a call comes by, each for whoever has it at that time: so that it needs no memory at every stop.
	to        road         // see putCall and callToImport
	sent      *questionRef // on a wire
	sentAs    sentAs
	delivered bool // see deliverCall
	// first: its object was never called, and so the goroutine has a small stack on which the method returns. A turn would
	// have it grown several times.
	first bool
	// Memory for stops that it will probably make; nil: for none.
	returner *returner       // for its method
	question *asked          // for its question
	waiting  *actors.Waiting // in front of an object actor
}

type sentAs struct{ unsure, kept bool }

// args are the parameters.
func (c *call) args() capnp.Struct {
	if !c.prepared {
		return c.content
	}
	return must(must(rpc.Call(c.content).Params()).Content()).Struct()
}

// releaseArgs lets go of the parameters. It may enter go-capnp, so it is for the worker, or for code that is
// outside of any turn.
func (c *call) releaseArgs() {
	if c.released.Swap(true) {
		return
	}
	if c.release != nil {
		c.release()
	}
	if msg := c.msg; msg != nil {
		c.msg = nil
		c.vat.empty(msg)
		recycle(msg)
	}
	if c.from != nil {
		c.from.calls.Add(-1)
		c.from.bytes.Add(-c.size)
	}
}

// releaseLater is releaseArgs for turns: the parameters may hold references whose Shutdown enters code that is not ours.
func (c *call) releaseLater() {
	if c.release == nil && (c.msg == nil || c.msg.CapTable().Len() == 0) {
		c.releaseArgs()
		return
	}
	if c.release != nil {
		c.vat.aside(c.releaseArgs)
		return
	}
	c.vat.later(c.releaseArgs)
}

func (c *call) reject(err error) {
	c.ret.settle(result{err: err})
	c.releaseLater()
}

// A sink takes the result of one call. Its methods are called in turns of sessions and on the goroutines of
// objects; they enqueue at most, and never block.
type sink interface {
	// forwarded says that the call went out on a wire as q: what is pipelined on it can follow. At most
	// once, before settle. The sink holds q from then on and releases it.
	forwarded(q *questionRef)
	// setEarly hands over results that a method has set before it is over. At most once, before settle.
	setEarly(r result)
	// settle hands over the result, exactly once.
	settle(r result)
}

// A result of a call: an exception, a capability, or a struct with capabilities. Whoever it was handed to
// owns it and calls free once.
type result struct {
	err     error
	content capnp.Ptr // in a message whose table holds the capabilities
	cap     *pin      // the whole result is this capability: Accept and Bootstrap
	release func()

	// plain results have no capabilities. Nothing can be called on them, so whoever only asks what is at some path in
	// them does not look: they may be freed by then, and msg, if not nil, be in use again. That is the message of
	// content.
	msg   *capnp.Message
	plain bool
	// ready: content is that of a Return in a message of its own, which may be sent as it is.
	ready bool
}

func (r result) free() {
	if r.cap != nil {
		r.cap.free()
	}
	if r.release != nil {
		r.release()
	}
	if r.msg != nil {
		recycle(r.msg)
	}
}

// newResult is a result whose content lies in msg, a message that goes with it.
func (v *Vat) newResult(content capnp.Ptr, msg *capnp.Message) result {
	if msg.CapTable().Len() == 0 {
		return result{content: content, plain: true, msg: msg}
	}
	return result{content: content, release: func() { v.empty(msg) }}
}

// pins are the capabilities of a result, each pinned as it is now, in the order of the message's table.
// The caller releases them.
func (r result) pins(v *Vat) []pin {
	if r.err != nil {
		return nil
	}
	if r.cap != nil {
		return []pin{r.cap.again()}
	}
	if msg := r.content.Message(); msg != nil && !r.plain {
		return v.pinTable(msg)
	}
	return nil
}

// pinTable pins the capabilities of a message, in the order of its table. The caller releases them.
func (v *Vat) pinTable(msg *capnp.Message) []pin {
	table := msg.CapTable()
	var pins []pin
	for i := range table.Len() {
		pins = append(pins, v.pinClient(table.At(i)))
	}
	return pins
}

// at is the road to what path leads to in the result, with pins as from r.pins.
func (r result) at(path []capnp.PipelineOp, pins []pin) road {
	i, err := r.indexOf(path, len(pins))
	if err != nil {
		return brokenRoad{err}
	}
	return pins[i].road
}

// indexOf says which of the pins, so many as from r.pins, is what path leads to in the result, or why none is.
func (r result) indexOf(path []capnp.PipelineOp, pins int) (int, error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.cap != nil && len(path) > 0:
		return 0, failed("the result is a capability: it has no field %d", path[0].Field)
	case r.cap != nil:
		return 0, nil
	case r.plain:
		return 0, errNull
	}
	p, err := capnp.Transform(r.content, path)
	if err != nil {
		return 0, err
	}
	if !p.IsValid() {
		return 0, errNull
	}
	i := p.Interface()
	if !i.IsValid() {
		return 0, failed("call on a result that is not a capability")
	}
	if id := int(i.Capability()); id < pins {
		return id, nil
	}
	return 0, errNull
}
