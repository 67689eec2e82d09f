package flood

import (
	"context"
	"slices"
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// The methods of a target, as its interface numbers them.
const (
	methodNote uint16 = iota
	methodEcho
	methodSelf
	methodKeep
	methodKept
	methodFail
	methodWait
	methodWrite
	methodPass
	methodCallBack
	methodMany
)

// A target is the bootstrap of a vat under attack.
type target struct {
	vat *vat.Vat

	mu       sync.Mutex
	kept     []testapi.Probe                 // what keep was given
	resolver []capnp.Resolver[testapi.Probe] // of the promises that kept gave out
}

// Note returns at once.
func (o *target) Note(context.Context, testapi.Probe_note) error { return nil }

// Echo returns its parameter.
func (o *target) Echo(_ context.Context, c testapi.Probe_echo) error {
	data, err := c.Args().Data()
	if err != nil {
		return err
	}
	return must(c.AllocResults()).SetData(data)
}

// Self returns a new capability each time.
func (o *target) Self(_ context.Context, c testapi.Probe_self) error {
	return must(c.AllocResults()).SetProbe(testapi.Probe_ServerToClient(&target{}))
}

// Keep holds all that it is given.
func (o *target) Keep(_ context.Context, c testapi.Probe_keep) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, c.Args().Probe().AddRef())
	return nil
}

// Kept returns a new promise each time.
func (o *target) Kept(_ context.Context, c testapi.Probe_kept) error {
	p, r := vat.NewPromise[testapi.Probe](o.vat)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resolver = append(o.resolver, r)
	return must(c.AllocResults()).SetProbe(p)
}

// Fail returns.
func (o *target) Fail(context.Context, testapi.Probe_fail) error { return nil }

// Wait lets others go first and returns when it is canceled.
func (o *target) Wait(ctx context.Context, c testapi.Probe_wait) error {
	c.Go()
	<-ctx.Done()
	return ctx.Err()
}

// Write returns.
func (o *target) Write(context.Context, testapi.Probe_write) error { return nil }

// Pass returns its parameter.
func (o *target) Pass(_ context.Context, c testapi.Probe_pass) error {
	return must(c.AllocResults()).SetProbe(c.Args().Probe().AddRef())
}

// CallBack returns.
func (o *target) CallBack(context.Context, testapi.Probe_callBack) error { return nil }

// Many reads its parameter to the bottom.
func (o *target) Many(_ context.Context, c testapi.Probe_many) error {
	nested, err := c.Args().Nested()
	for err == nil && nested.IsValid() {
		nested, err = nested.Nested()
	}
	return err
}

// first is a reference to what keep was given first.
func (o *target) first() testapi.Probe {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept[0].AddRef()
}

// resolve resolves the last promise that was given out.
func (o *target) resolve(p testapi.Probe) {
	o.mu.Lock()
	last := len(o.resolver) - 1
	r := o.resolver[last]
	o.resolver = o.resolver[:last]
	o.mu.Unlock()
	r.Fulfill(p)
}

// letGo releases what is held, and resolves what was promised.
func (o *target) letGo() {
	o.mu.Lock()
	kept, resolvers := slices.Clone(o.kept), o.resolver
	o.kept, o.resolver = nil, nil
	o.mu.Unlock()
	for _, k := range kept {
		k.Release()
	}
	for _, r := range resolvers {
		r.Reject(context.Canceled)
	}
}
