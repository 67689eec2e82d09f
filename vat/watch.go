package vat

import (
	"context"
	"errors"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/transport"
)

// Watch tells, once, when the capability c has broken for good, and why: its object has stopped, the session it
// came by is lost, the node is dead. The channel is closed after that, or when ctx ends.
//
// It borrows c and holds a reference of its own meanwhile, so a watched object is not released. Where the host
// is no Vatwork vat, only the loss of the session is seen. A null capability is broken.
func (v *Vat) Watch(ctx context.Context, c capnp.Client) <-chan error {
	told := make(chan error, 1)
	c = c.AddRef()
	v.goroutines.Add(1)
	go func() {
		defer v.goroutines.Done()
		defer close(told)
		defer c.Release()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(v.ctx, cancel)()
		if err := v.untilBroken(ctx, c); err != nil && ctx.Err() == nil {
			told <- err
		}
	}()
	return told
}

// untilBroken waits until c is broken, or ctx ends.
func (v *Vat) untilBroken(ctx context.Context, c capnp.Client) error {
	ans, release := transport.Watched(c).UntilBroken(ctx, nil)
	defer release()
	_, err := ans.Struct()
	if err == nil || !capnp.IsUnimplemented(err) || !c.IsValid() {
		return withoutMethod(err)
	}
	// The host cannot tell. If it is a peer, its session can.
	if i, ok := v.importOf(c); ok {
		select {
		case <-i.s.done:
			return i.s.why()
		case <-ctx.Done():
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

// withoutMethod is err without the name of the method, which go-capnp puts before the text of what it ended with:
// whoever watches has called none.
func withoutMethod(err error) error {
	if cause := errors.Unwrap(errors.Unwrap(err)); cause != nil {
		return &exc.Exception{Type: exc.TypeOf(err), Cause: cause}
	}
	return err
}

// park holds a call of Watched.untilBroken until what it watches is broken, or its caller gives up.
func (v *Vat) park(c *call, broken <-chan struct{}, why func() error) {
	go func() {
		select {
		case <-broken:
			c.reject(why())
		case <-c.ctx.Done():
			c.reject(callerError(c.ctx))
		}
	}()
}
