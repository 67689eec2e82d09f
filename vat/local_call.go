package vat

import (
	"context"
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/actors"
)

// send makes a call of local code and puts it on to.
func (v *Vat) send(ctx context.Context, s capnp.Send, to road) (*capnp.Answer, capnp.ReleaseFunc) {
	c, a, err := v.newLocalCall(ctx, s, to)
	if err != nil {
		return capnp.ErrorAnswer(s.Method, err), func() {}
	}
	if s := sessionOf(to); s != nil {
		if err := s.awaitRoom(ctx); err != nil {
			c.reject(err)
			return a.promise.Answer(), a.release
		}
	}
	// After the put the call may be over at any time: the answer is taken from a.
	to.put(c)
	to.run()
	return a.promise.Answer(), a.release
}

// recv makes a call that go-capnp forwards and puts it on to. It only enqueues.
func (v *Vat) recv(ctx context.Context, r capnp.Recv, to road) capnp.PipelineCaller {
	c, a := v.localCall(ctx, r.Method, to)
	a.deliver = func(res result) { giveBack(r.Returner, res); a.released = true }
	c.content, c.release = r.Args, r.ReleaseArgs
	a.flight.begin(c)
	to.put(c)
	to.wake()
	return a
}

// giveBack copies res into what the caller of a Recv provided.
func giveBack(ret capnp.Returner, res result) {
	err := res.err
	if err == nil && res.content.IsValid() {
		from := res.content.Struct()
		var to capnp.Struct
		if to, err = ret.AllocResults(from.Size()); err == nil {
			err = to.CopyFrom(from)
		}
	}
	ret.PrepareReturn(err)
	ret.Return()
	ret.ReleaseResults()
}

// localCall is a call that is made here, and its answer. One to an object actor has no question.
func (v *Vat) localCall(ctx context.Context, m capnp.Method, to road) (*call, *promisedAnswer) {
	var x *localCallMemory
	_, here := to.(*spawned)
	if here {
		near := new(struct {
			localCallMemory
			returner returner
			waiting  actors.Waiting
		})
		x = &near.localCallMemory
		x.call.returner, x.call.waiting = &near.returner, &near.waiting
	} else {
		far := new(struct {
			localCallMemory
			asked asked
		})
		x = &far.localCallMemory
		x.call.question = &far.asked
	}
	c, a := &x.call, &x.answer
	a.vat, a.pipe.local = v, true
	a.ctx.Context, a.ctx.all, a.ctx.local = ctx, &v.watches, true
	c.vat, c.method, c.ctx, c.ret, c.here = v, m, &a.ctx, a, here
	return c, a
}

type localCallMemory struct {
	call   call
	answer promisedAnswer
}

// newLocalCall places the arguments, in a message of their own.
func (v *Vat) newLocalCall(ctx context.Context, s capnp.Send, to road) (*call, *promisedAnswer, error) {
	c, a := v.localCall(ctx, s.Method, to)
	if err := c.place(s); err != nil {
		return nil, nil, err
	}
	a.promise = capnp.NewPromise(s.Method, a, nil)
	md := a.promise.Answer().Metadata()
	md.Lock()
	md.Put(answerKey{}, a)
	md.Unlock()
	a.flight.begin(c)
	return c, a, nil
}

// place has the arguments placed.
func (c *call) place(s capnp.Send) error {
	if s.PlaceArgs == nil {
		return nil
	}
	newArgs := c.newArgs
	if c.here {
		newArgs = c.newArgsHere
	}
	args, err := newArgs(s.ArgsSize)
	if err == nil {
		err = s.PlaceArgs(args)
	}
	if err != nil {
		c.releaseArgs()
	}
	return err
}

// A promisedAnswer is the answer to a call of local code: the sink of the call, and the PipelineCaller of
// go-capnp's promise.
//
// Its results live until they were delivered and released, both; releasing before they came cancels the call,
// unless calls are pipelined on it, or peers were given parts of the results, for those stand for an interest in them too.
//
// What is pipelined is put on its way under mu where it follows the call, and where it waited for results that are now put
// in place, and else with no lock held. For parts of two answers may lead to parts of each other, crosswise, and that is no
// circle. Of answers whose results lead on only one is put in place at a time (Vat.resolving), and nowhere within itself (see
// straighten): so whoever waits for it holds nothing that it waits for.
type promisedAnswer struct {
	vat     *Vat
	ctx     callContext
	promise *capnp.Promise // nil where go-capnp forwarded the call
	deliver func(result)   // then
	flight  flight
	caller  callerWatch

	mu        sync.Mutex
	pipe      pipeline
	res       result       // what pipe has, too
	parts     []feed       // promises of ours for parts of the results
	on        *questionRef // held until released
	inFlight  int32        // pipelined calls under way, and parts whose promises are held
	holds     int32        // pins on parts of the results
	over      bool         // its result is here
	delivered bool
	released  bool
	cleaned   bool // what it held is being let go of
}

var _ capnp.PipelineCaller = (*promisedAnswer)(nil)
var _ sink = (*promisedAnswer)(nil)

// PipelineSend implements capnp.PipelineCaller.
func (a *promisedAnswer) PipelineSend(ctx context.Context, path []capnp.PipelineOp, s capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	return a.vat.send(ctx, s, answerRoad{a: a, path: path})
}

// PipelineRecv implements capnp.PipelineCaller.
func (a *promisedAnswer) PipelineRecv(ctx context.Context, path []capnp.PipelineOp, r capnp.Recv) capnp.PipelineCaller {
	return a.vat.recv(ctx, r, answerRoad{a: a, path: path})
}

// answerKey is where go-capnp's answer to a call of ours keeps the promisedAnswer.
type answerKey struct{}

// answerOf is the answer on which c is pipelined, held, if it is one of ours.
func answerOf(c capnp.PipelineClient) (*promisedAnswer, bool) {
	md := c.Answer().Metadata()
	md.Lock()
	x, ok := md.Get(answerKey{})
	md.Unlock()
	if !ok {
		return nil, false
	}
	a := x.(*promisedAnswer)
	return a, a.tryHold()
}

// tryHold keeps the results for a pin, unless they are gone.
func (a *promisedAnswer) tryHold() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cleaned {
		return false
	}
	a.holds++
	return true
}

func (r answerRoad) hold() {
	if !r.a.tryHold() {
		panic("vat: answer held after its results were freed")
	}
}

func (r answerRoad) drop() {
	r.a.mu.Lock()
	r.a.holds--
	cancel, last := r.a.unwanted(), r.a.isLast()
	r.a.mu.Unlock()
	cancel()
	if last {
		r.a.vat.later(r.a.clean)
	}
}

// answerRoad leads to what path leads to in the results of a local call: for local callers to the reference there,
// which follows resolutions; for all that is pinned, to where that reference was when the results came.
type answerRoad struct {
	a     *promisedAnswer
	path  []capnp.PipelineOp
	fixed bool
}

func (r answerRoad) put(p parcel) {
	a := r.a
	a.mu.Lock()
	max := a.vat.limits.Pipelined
	if len(a.pipe.queue) >= max {
		for _, gone := range a.pipe.dropCanceled() {
			gone.reject(errCanceled)
		}
	}
	if len(a.pipe.queue) >= max {
		a.mu.Unlock()
		p.reject(a.vat.beyondLimit("Pipelined", max, "calls that wait on one call"))
		return
	}
	if c, ok := p.(*call); ok && a.pipe.res == nil {
		a.inFlight++
		c.ret = countedSink{c.ret, a}
	}
	d, now := a.pipe.add(pipelined{r.path, p, r.fixed})
	if wire, follows := d.to.(pipelineRoad); !now || follows && wire.q == a.pipe.on {
		if now {
			d.to.put(d.parcel)
		}
		a.mu.Unlock()
		return
	}
	early := a.pipe.early.hold()
	a.mu.Unlock()
	d.to.put(d.parcel)
	early.drop(a.vat)
}

func (r answerRoad) current() road {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	return r.a.pipe.road(r.path, r.fixed)
}

func (r answerRoad) wake() {
	if to := r.current(); to != nil {
		to.wake()
	}
}

func (r answerRoad) run() {
	if to := r.current(); to != nil {
		to.run()
	}
}

// forwarded implements sink.
func (a *promisedAnswer) forwarded(q *questionRef) {
	a.mu.Lock()
	for _, d := range a.pipe.forwarded(q) {
		d.to.put(d.parcel)
	}
	a.on = q
	cancel := a.unwanted()
	if a.cleaned {
		a.on, cancel = nil, q.drop
	}
	a.mu.Unlock()
	q.s.wake()
	cancel()
}

// settle implements sink.
func (a *promisedAnswer) settle(r result) {
	if a.close(r) {
		a.settled(r)
		a.vat.worker.DoTask((*deliverResult)(a))
	}
}

// settleHere is settle for an object that returns, on its own goroutine and with no lock held: what does not concern
// the worker enters go-capnp there, as it does from go-capnp's own servers. Who blocks it blocks that object.
func (a *promisedAnswer) settleHere(r result) {
	if !a.close(r) {
		return
	}
	if alone := a.settled(r); alone && a.promise != nil && (r.plain || r.err != nil) {
		(*deliverResult)(a).Do()
		return
	}
	a.vat.worker.DoTask((*deliverResult)(a))
}

// close takes the first result, and says whether it can be handed on now. Otherwise it is, or will be, seen to.
func (a *promisedAnswer) close(r result) bool {
	a.mu.Lock()
	if a.over { // its caller gave up while it was on its way
		a.mu.Unlock()
		a.vat.later(r.free)
		return false
	}
	a.over = true
	q := a.pipe.close()
	a.mu.Unlock()
	a.caller.end()
	if q != nil {
		awaitEcho(q, func() {
			a.settled(r)
			a.vat.worker.DoTask((*deliverResult)(a))
		})
	}
	return q == nil
}

// settled hands on what waits. Local callers follow resolutions, so what is pipelined goes to references, not
// to the roads that they are on now. It says whether nothing of that is for the worker.
func (a *promisedAnswer) settled(r result) (alone bool) {
	pins, fixed := a.vat.pinBoth(r) // not under the lock: what came may lead to a itself
	done := a.straighten(r, pins, fixed)
	a.mu.Lock()
	a.pipe.fixed = fixed
	a.res = r
	out := a.pipe.settle(&a.res, pins)
	a.pipe.endEarly(a.vat)
	for _, d := range out {
		d.to.put(d.parcel)
	}
	parts := a.parts
	a.parts = nil
	a.mu.Unlock()
	fulfil := a.settleParts(parts, r, fixed)
	done()
	for _, d := range out {
		d.to.wake()
	}
	for _, f := range fulfil {
		f()
	}
	a.ctx.cancel()
	return len(fulfil) == 0
}

// settleParts has promises of ours for parts of the results settle on those, with pins as from pinBoth: once what it returns
// is called.
func (a *promisedAnswer) settleParts(parts []feed, r result, fixed []pin) (fulfil []func()) {
	for _, f := range parts {
		to := r.pinAt(a.vat, f.path, fixed)
		fulfil = append(fulfil, func() {
			if r.err != nil {
				// The call may be one that a promise rejects as it settles, in its turn: two do not settle within
				// each other. And what is broken delivers nothing, so nothing has to come in its order.
				a.vat.later(func() { f.p.settleOn(to)() })
				return
			}
			a.vat.later(f.p.settleOn(to))
		})
	}
	return fulfil
}
