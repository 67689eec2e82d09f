package vat

import (
	"context"

	"capnproto.org/go/capnp/v3"
)

type adoptedKey struct{ v *Vat }

// adopt is a pin on a promise of ours that stands for s, an unresolved promise of go-capnp's (a
// NewLocalPromise, the pipelined result of a local call). What a session puts on it waits with us until s
// resolves, never in go-capnp's AnswerQueue: that one blocks while it drains, and panics when it is
// fulfilled with null while calls on calls wait. It borrows s.
func (v *Vat) adopt(s capnp.ClientSnapshot) pin {
	md := s.Metadata()
	md.Lock()
	defer md.Unlock()
	if x, ok := md.Get(adoptedKey{v}); ok {
		if c, ok := x.(capnp.WeakClient).AddRef(); ok {
			defer c.Release()
			if p := v.follow(c); p.road != nil {
				return p
			}
		}
	}
	c, p := v.newPromise()
	defer c.Release()
	md.Put(adoptedKey{v}, c.WeakRef())
	ctx, cancel := context.WithCancel(v.ctx)
	p.abandon = cancel
	v.goroutines.Add(1)
	go func(s capnp.ClientSnapshot) {
		defer v.goroutines.Done()
		if s.Resolve1(ctx) == nil {
			p.resolve(s.Client())
		}
		s.Release()
	}(s.AddRef())
	snap := c.Snapshot()
	return pin{snap, p}
}
