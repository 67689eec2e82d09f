package vat

import (
	"context"

	"capnproto.org/go/capnp/v3"
)

// TailCall ends a method by a call of another capability's: what that returns, the method returns. method is the
// client's method as an expression, params fills its parameters as ever:
//
//	func (b bank) Open(ctx context.Context, call Bank_open) error {
//		return vat.TailCall(ctx, call, b.branch, Branch.Open, func(p Branch_open_Params) error { ... })
//	}
//
// ctx and call are those of the method, which has not allocated its results. The method then returns what TailCall
// returns: nil once the call has been made, which is before it has returned, so the object is free for its next call.
// An error of the parameters' is the method's own; what becomes of the call afterwards is the caller's to see, unchanged,
// and what the method returns does not matter any more. When the caller gives up, the call is canceled.
//
// Where the call goes to another vat its results do not come by here, if both that vat and the caller's can do
// without: they go straight to the caller. Until they are here the caller pipelines on them as on any others.
//
// Where the capability is a promise of go-capnp's own, such as the pipelined result of a call that no vat had a part in,
// TailCall waits until it has resolved.
//
// In a method that was not called by way of a vat, but by go-capnp alone, TailCall waits for the results and copies them.
func TailCall[C ~capnp.ClientKind, P any, R ~capnp.StructKind, F interface{ Struct() (R, error) }](
	ctx context.Context,
	call interface{ AllocResults() (R, error) },
	to C,
	method func(C, context.Context, func(P) error) (F, capnp.ReleaseFunc),
	params func(P) error,
) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	r, ok := ctx.Value(returnerKey{}).(*returner)
	if !ok || !r.allocated(capnp.Struct(results)) {
		f, release := method(to, ctx, params)
		defer release()
		got, err := f.Struct()
		if err != nil {
			return err
		}
		return capnp.Struct(results).CopyFrom(capnp.Struct(got))
	}
	t := &tailCall{made: r.call.inItsPlace()}
	c := capnp.NewClient(t)
	_, release := method(C(c), ctx, params)
	release()
	c.Release()
	if t.err != nil {
		return t.err
	}
	return r.handOver(t.made, capnp.Client(to))
}

// inItsPlace is a call in the place of c: with its sink and its context, for whoever cares for the one cares for the other.
func (c *call) inItsPlace() *call {
	return &call{vat: c.vat, ctx: c.ctx, ret: c.ret, early: c.early, tail: true}
}

// A tailCall is the hook that takes down a call of generated code.
type tailCall struct {
	made *call
	err  error
}

var _ capnp.ClientHook = (*tailCall)(nil)

// Send implements capnp.ClientHook.
func (t *tailCall) Send(_ context.Context, s capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	t.made.method = s.Method
	t.err = t.made.place(s)
	return capnp.ErrorAnswer(s.Method, failed("the results of a tail call are the caller's")), func() {}
}

// Recv implements capnp.ClientHook. Nobody but TailCall knows of t.
func (t *tailCall) Recv(_ context.Context, r capnp.Recv) capnp.PipelineCaller {
	r.Reject(failed("a tail call is made by Send"))
	return nil
}

// Brand implements capnp.ClientHook.
func (t *tailCall) Brand() capnp.Brand { return capnp.Brand{Value: t} }

// Shutdown implements capnp.ClientHook.
func (t *tailCall) Shutdown() {}

func (t *tailCall) String() string { return "vatwork.tailCall" }

// handOver puts c, which has the sink of r's call, on its way to the target. r returns nothing any more.
func (r *returner) handOver(c *call, to capnp.Client) error {
	v := r.call.vat
	if err := resolveForeign(c.ctx, to); err != nil {
		v.later(c.releaseArgs)
		return err
	}
	p := v.follow(to)
	defer v.freeLater(&p)
	if s := sessionOf(p.road); s != nil {
		if err := s.awaitRoom(c.ctx); err != nil {
			v.later(c.releaseArgs)
			return err
		}
	}
	r.handedOver = true
	p.road.put(c)
	p.road.run()
	return nil
}
