package vat

import "capnproto.org/go/capnp/v3"

// deliverResult enters go-capnp: so it is for the vat's worker.
type deliverResult promisedAnswer

// Do implements actors.Task.
func (d *deliverResult) Do() {
	a := (*promisedAnswer)(d)
	if a.promise == nil {
		a.vat.aside(func() {
			a.deliver(*a.pipe.res) // to a Returner of somebody's
			a.wasDelivered()
		})
		return
	}
	a.promise.Resolve(a.pipe.res.content, a.pipe.res.err)
	a.wasDelivered()
}

func (a *promisedAnswer) wasDelivered() {
	a.flight.end()
	a.mu.Lock()
	a.delivered = true
	last := a.isLast()
	a.mu.Unlock()
	if last {
		a.clean()
	}
}

// pinBoth pins the capabilities of a result of a local call, as local callers follow them and as they are now. The caller
// releases the pins.
func (v *Vat) pinBoth(r result) (pins, fixed []pin) {
	if r.err != nil || r.content.Message() == nil {
		return nil, nil
	}
	table := r.content.Message().CapTable()
	for i := range table.Len() {
		p := v.follow(table.At(i))
		if _, adopted := p.road.(callersOf); adopted {
			// Of go-capnp's promises ours take the place: what waits on them waits with us.
			table.At(i).Release()
			table.Set(capnp.CapabilityID(i), p.client())
		}
		pins, fixed = append(pins, p), append(fixed, v.pinClient(table.At(i)))
	}
	return pins, fixed
}

// release is the ReleaseFunc that the caller got.
func (a *promisedAnswer) release() {
	a.mu.Lock()
	a.released = true
	cancel, q := false, (*questionRef)(nil)
	if a.pipe.res == nil && a.inFlight == 0 {
		// A question's last holder finishes it; short of a question, the call itself is canceled.
		q, a.on = a.on, nil
		cancel = q == nil
	}
	last := a.isLast()
	a.mu.Unlock()
	if q != nil {
		q.drop()
	}
	if cancel {
		a.ctx.cancel()
	}
	switch {
	case !last:
	case a.pipe.res.plain:
		a.clean() // nothing but memory: that is not worth waking the worker for
	default:
		// The caller may hold a lock of go-capnp's, which has ReleaseFuncs called under that of a client that they were
		// attached to.
		a.vat.worker.DoTask((*cleanAnswer)(a))
	}
}

// isLast says, once, that the results were delivered and released: the caller, who holds a.mu, sees to it that they are
// let go of.
func (a *promisedAnswer) isLast() bool {
	if !a.delivered || !a.released || a.cleaned || a.holds > 0 {
		return false
	}
	a.cleaned = true
	a.last, a.lastOn = append(a.pipe.pins, a.pipe.fixed...), a.on
	// The roads stay, not held any more: a caller that was preempted within go-capnp's PipelineClient as the results
	// came may call yet, on a client that leads to the same by now, and holds it.
	a.pipe.fixed, a.on = nil, nil
	return true
}

// cleanAnswer enters go-capnp as well.
type cleanAnswer promisedAnswer

// Do implements actors.Task.
func (c *cleanAnswer) Do() { (*promisedAnswer)(c).clean() }

// clean lets go of the results.
func (a *promisedAnswer) clean() {
	if a.promise != nil {
		a.promise.ReleaseClients()
	}
	for _, p := range a.last {
		p.free()
	}
	a.pipe.res.free()
	if a.lastOn != nil {
		a.lastOn.drop()
	}
	a.last, a.lastOn = nil, nil
}

// settledOne notes that a pipelined call is over.
func (a *promisedAnswer) settledOne() {
	a.mu.Lock()
	a.inFlight--
	cancel, q := false, (*questionRef)(nil)
	if a.inFlight == 0 && a.released && a.pipe.res == nil {
		q, a.on = a.on, nil
		cancel = q == nil
	}
	a.mu.Unlock()
	if q != nil {
		q.drop()
	}
	if cancel {
		a.ctx.cancel()
	}
}

// countedSink tells the answer that a call was pipelined on when that call is over.
type countedSink struct {
	sink
	on *promisedAnswer
}

func (s countedSink) settle(r result) {
	s.sink.settle(r)
	// Not here: the answer may be the very one that hands its queue on at this moment, under its lock.
	s.on.vat.later(s.on.settledOne)
}
