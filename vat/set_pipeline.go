package vat

import (
	"context"
	"math"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
)

// SetPipeline has calls that are pipelined on a method's results go on while the method still runs: to the capabilities
// that are in results by now. They may be promises, and what another call will return.
//
//	results, err := call.AllocResults()
//	...
//	bar, release := b.to.Bar(ctx, nil)
//	defer release()
//	err = results.SetCap(bar.Cap())
//	...
//	err = vat.SetPipeline(ctx, results)
//	... // wait for bar, look at it, fill in the rest
//
// ctx and results are the method's own. What it sets afterwards is in the results that the caller gets; a capability that
// it has set it leaves as it is, for calls have gone there. What is pipelined on a field that has no capability yet waits
// for the results. A method that fails has its caller's later calls fail, not those that went on.
//
// Once for a call: again is an error. In a method that was not called by way of a vat, but by go-capnp alone, it
// does nothing.
func SetPipeline[R ~capnp.StructKind](ctx context.Context, results R) error {
	r, ok := ctx.Value(returnerKey{}).(*returner)
	if !ok || !r.allocated(capnp.Struct(results)) {
		return nil
	}
	return r.setPipeline()
}

// setPipeline is called by the method. What the sink gets is a copy, for the method goes on to write into its results.
// A capability may resolve before they are returned. What is pinned to it now and what is pinned to it then lead the same
// way nevertheless, for pins go with the callers until a peer is told where they lead: see told.go.
func (r *returner) setPipeline() error {
	if r.piped {
		return failed("SetPipeline called twice")
	}
	r.piped = true
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	msg.TraverseLimit = math.MaxUint64
	results, err := capnp.NewRootStruct(seg, r.res.Size())
	if err == nil {
		err = results.CopyFrom(r.res)
	}
	if err != nil {
		msg.CapTable().Reset()
		return err
	}
	r.call.ret.setEarly(result{content: results.ToPtr(), release: func() { r.call.vat.empty(msg) }})
	return nil
}

// early are results that were set before the call is over: those of its capabilities that are there.
type early struct {
	result
	pins  []pin
	fixed []pin        // as of pipeline
	holds atomic.Int32 // but for the one of the pipeline
}

// hold keeps e, which may be nil, until drop.
func (e *early) hold() *early {
	if e != nil {
		e.holds.Add(1)
	}
	return e
}

func (e *early) drop(v *Vat) {
	if e != nil && e.holds.Add(-1) < 0 {
		v.later(e.free)
	}
}

// has says whether there is a capability at path.
func (e *early) has(path []capnp.PipelineOp) bool {
	if e == nil {
		return false
	}
	_, none := e.at(path, e.pins).(brokenRoad)
	return !none
}

func (e *early) free() {
	for _, p := range append(e.pins, e.fixed...) {
		p.free()
	}
	e.result.free()
}

// setEarly has what is pipelined on e go on, unless it comes too late.
func (p *pipeline) setEarly(e *early) (out []delivery, ok bool) {
	if p.res != nil || p.early != nil || p.on != nil {
		return nil, false
	}
	p.early = e
	return p.flush(), true
}

// endEarly lets go of what was set early: the results are here, or never will be.
func (p *pipeline) endEarly(v *Vat) {
	p.early.drop(v)
	p.early = nil
}

// earlyAnswer is the news that results were set before the call is over.
type earlyAnswer struct {
	ref *answerRef
	res result
}

// setEarly implements sink.
func (a *answerRef) setEarly(r result) {
	if !a.s.post(&earlyAnswer{a, r}) {
		a.s.vat.later(r.free)
		return
	}
	a.s.wake()
}

func (s *session) answerSetEarly(m *earlyAnswer) {
	e := &early{result: m.res, pins: m.res.pins(s.vat)}
	var ds []delivery
	var feeds []feed
	taken := false
	s.answers.visit(m.ref.id, func(a *answer) {
		if a.ref != m.ref {
			return
		}
		if ds, taken = a.pipe.setEarly(e); taken {
			feeds, a.feeds = partition(a.feeds, e)
		}
	})
	if left := m.ref.left; left != nil {
		if ds, taken = left.pipe.setEarly(e); taken {
			feeds, left.feeds = partition(left.feeds, e)
		}
	}
	if !taken {
		s.emit(letGo(func() { s.vat.later(e.free) }))
		return
	}
	s.handOn(ds)
	s.feed(feeds, e.result, e.pins)
}

// partition gives the feeds for what is in e, and the others.
func partition(feeds []feed, e *early) (in, rest []feed) {
	for _, f := range feeds {
		if e.has(f.path) {
			in = append(in, f)
		} else {
			rest = append(rest, f)
		}
	}
	return in, rest
}

// setEarly implements sink.
func (a *promisedAnswer) setEarly(r result) {
	e := &early{result: r}
	e.pins, e.fixed = a.vat.pinBoth(r)
	done := a.straighten(r, e.pins, e.fixed)
	a.mu.Lock()
	out, taken := a.pipe.setEarly(e)
	if !taken {
		a.mu.Unlock()
		done()
		a.vat.later(e.free)
		return
	}
	for _, d := range out {
		d.to.put(d.parcel)
	}
	var parts []feed
	parts, a.parts = partition(a.parts, e)
	defer e.hold().drop(a.vat)
	a.mu.Unlock()
	fulfil := a.settleParts(parts, r, e.fixed)
	done()
	for _, d := range out {
		d.to.wake()
	}
	for _, f := range fulfil {
		f()
	}
}

// setEarly implements sink.
func (e *earlyReturn) setEarly(r result) {
	v := e.caller.vat
	v.later(func() {
		set := &early{result: r, pins: r.pins(v)}
		for i, p := range e.promises {
			if ops := pipelineOps(e.paths[i]); p != nil && set.has(ops) {
				e.promises[i] = nil
				p.resolve(r.clientAt(e.paths[i]))
			}
		}
		set.free()
	})
}
