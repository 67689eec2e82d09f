package vat

import (
	"slices"

	"capnproto.org/go/capnp/v3"
)

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
		pins, fixed = append(pins, p), append(fixed, p.again().asItIs())
	}
	return pins, fixed
}

// straighten has the capabilities of a result lead nowhere within the results of the same call. A promise may have been
// resolved to one part of what a call returns, and the call return that promise as another: this is what the first is,
// then; null, if there is none. Parts that lead to each other in a circle break, for what is called on them would go
// round for ever, and so do the promises on the way. The peer may hold those for us until the call is finished, and they
// hold the call: so it is finished now. Nothing resolves until done is called, with the results in place.
func (a *promisedAnswer) straighten(r result, pins, fixed []pin) (done func()) {
	if !slices.ContainsFunc(pins, pin.mayResolve) {
		return func() {}
	}
	v, circle := a.vat, false
	v.resolving.Lock()
	ends := make([]int, len(pins))
	for i := range pins {
		ends[i] = a.endWithin(i, r, pins)
	}
	for i, end := range ends {
		if end == i {
			continue
		}
		table, c := r.content.Message().CapTable(), capnp.Client{}
		if circle = circle || end == inCircle; end == inCircle {
			c = capnp.ErrorClient(errCircle)
		} else if end >= 0 {
			c = table.At(end).AddRef()
		}
		old, was, wasFixed := table.At(i), pins[i], fixed[i]
		v.later(func() { v.release(old) })
		v.freeLater(&was, &wasFixed)
		table.Set(capnp.CapabilityID(i), c)
		if end >= 0 {
			pins[i], fixed[i] = pins[end].again(), fixed[end].again()
		} else {
			pins[i], fixed[i] = v.follow(c), v.follow(c)
		}
	}
	return func() {
		v.resolving.Unlock()
		if circle {
			a.finishEarly()
		}
	}
}

// What part i of a result ends at, if not at a part.
const (
	atNothing = -1
	inCircle  = -2
)

// endWithin is the part where part i of r leads in the end: mostly i itself.
func (a *promisedAnswer) endWithin(i int, r result, pins []pin) int {
	var by []*promise
	for range len(pins) {
		at, more := leadsTo(pins[i].road, answerRoad{a: a})
		if at == nil {
			return i
		}
		next, err := r.indexOf(at.(answerRoad).path, len(pins))
		if err != nil {
			return atNothing
		}
		i, by = next, append(by, more...)
	}
	breakAll(by)
	return inCircle
}

// finishEarly lets go of the question, if that has returned.
func (a *promisedAnswer) finishEarly() {
	var q *questionRef
	a.mu.Lock()
	if a.pipe.res != nil {
		q, a.on = a.on, nil
	}
	a.mu.Unlock()
	if q != nil {
		q.drop()
	}
}

// mayResolve says whether local callers of what p pins may yet go another way.
func (p pin) mayResolve() bool {
	switch to := p.road.(type) {
	case *reference:
		return to.isPromise
	case callersOf, answerRoad:
		return true
	}
	return false
}

// release is the ReleaseFunc that the caller got.
func (a *promisedAnswer) release() {
	a.mu.Lock()
	a.released = true
	cancel := a.unwanted()
	last := a.isLast()
	a.mu.Unlock()
	cancel()
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

// unwanted says that the call is released before its results are here, and nobody has an interest in them: what it returns
// cancels it then. The caller holds a.mu.
func (a *promisedAnswer) unwanted() (cancel func()) {
	if !a.released || a.pipe.res != nil || a.inFlight > 0 || a.holds > 0 {
		return func() {}
	}
	// A question's last holder finishes it; short of a question, the call itself is canceled.
	if q := a.on; q != nil {
		a.on = nil
		return q.drop
	}
	return a.ctx.cancel
}

// isLast says, once, that the results were delivered and released, and no pin holds them: the caller, who holds a.mu, sees
// to it that they are let go of. Pins do not hold the question: it keeps what the peer has returned, which may be the very
// promise that was pinned to a part of it.
func (a *promisedAnswer) isLast() bool {
	switch {
	case !a.delivered || !a.released || a.cleaned:
		return false
	case a.holds > 0:
		if a.on != nil {
			a.vat.later(a.on.drop)
			a.on = nil
		}
		return false
	}
	a.cleaned = true
	return true
}

// cleanAnswer enters go-capnp as well.
type cleanAnswer promisedAnswer

// Do implements actors.Task. The worker holds no lock, and is awake already: so it runs what the session has to do.
func (c *cleanAnswer) Do() { (*promisedAnswer)(c).cleanAnd((*questionRef).dropAndRun) }

// clean lets go of the results.
func (a *promisedAnswer) clean() { a.cleanAnd((*questionRef).drop) }

func (a *promisedAnswer) cleanAnd(drop func(*questionRef)) {
	if a.promise != nil {
		a.promise.ReleaseClients()
	}
	a.mu.Lock()
	// The roads stay, not held any more: a caller that was preempted within go-capnp's PipelineClient as the results
	// came may call yet, on a client that leads to the same by now, and holds it.
	pins, fixed, q := a.pipe.pins, a.pipe.fixed, a.on
	a.pipe.fixed, a.on = nil, nil
	a.mu.Unlock()
	for _, p := range pins {
		p.free()
	}
	for _, p := range fixed {
		p.free()
	}
	a.pipe.res.free()
	if q != nil {
		drop(q)
	}
}

// settledOne notes that a pipelined call is over, or a promise for a part of the results.
func (a *promisedAnswer) settledOne() {
	a.mu.Lock()
	a.inFlight--
	cancel := a.unwanted()
	a.mu.Unlock()
	cancel()
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
