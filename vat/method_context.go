package vat

import (
	"context"
	"time"

	"github.com/vatwork/vatwork/actors"
)

// The context of a method is the returner of its call, and in all else that of the call.

var _ context.Context = (*returner)(nil)

// Deadline implements context.Context.
func (r *returner) Deadline() (time.Time, bool) { return r.call.ctx.Deadline() }

// Done implements context.Context.
func (r *returner) Done() <-chan struct{} { return r.call.ctx.Done() }

// Err implements context.Context.
func (r *returner) Err() error { return r.call.ctx.Err() }

type returnerKey struct{}

// Value implements context.Context.
func (r *returner) Value(key any) any {
	if key == (returnerKey{}) {
		return r
	}
	return r.call.ctx.Value(key)
}

// AfterFunc is that of the call's context: package context would start a goroutine to wait for one that it does not know.
func (r *returner) AfterFunc(f func()) (stop func() bool) {
	if ctx, ok := r.call.ctx.(*callContext); ok {
		return ctx.AfterFunc(f)
	}
	return context.AfterFunc(r.call.ctx, f)
}

// OnEnd implements [actors.Teller].
func (r *returner) OnEnd(x actors.Ender) {
	if ctx, ok := r.call.ctx.(*callContext); ok {
		ctx.OnEnd(x)
	}
}

// OffEnd implements [actors.Teller].
func (r *returner) OffEnd(x actors.Ender) {
	if ctx, ok := r.call.ctx.(*callContext); ok {
		ctx.OffEnd(x)
	}
}
