package threeparty

import (
	"context"
	"errors"
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// Bob answers foo with a promise, and resolves it to a capability of Carol's when he is told to.
//
// States: not started (foo fails); started, holding Carol's CapBla; resolved (each promise he gave out leads
// to that CapBla, and so does each one he gives out from now on); let go (foo fails).
type Bob struct {
	called Called

	mu       sync.Mutex
	vat      *vat.Vat // nil: not started, or let go
	carol    CarolAPI
	capBla   CapBla // Carol's
	resolved bool
	promises []capnp.Resolver[CapBla] // given out, not resolved yet
}

// NewBob returns Bob and his bootstrap, which the caller owns: it goes into the configuration of the vat
// with which Bob is then started.
func NewBob(called Called) (*Bob, BobAPI) {
	b := &Bob{called: called}
	return b, BobAPI_ServerToClient(b)
}

// Start fetches the CapBla that Carol hosts. Addresses are needed where the vat has no directory.
func (b *Bob) Start(ctx context.Context, v *vat.Vat, carol transport.VatID, addrs ...string) error {
	bootstrap := CarolAPI(v.Bootstrap(ctx, carol, addrs...))
	capBla, err := fetch(ctx, bootstrap)
	if err != nil {
		bootstrap.Release()
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.vat, b.carol, b.capBla = v, bootstrap, capBla
	return nil
}

// fetch returns the CapBla that Carol hosts, which the caller owns.
func fetch(ctx context.Context, carol CarolAPI) (CapBla, error) {
	if err := carol.Resolve(ctx); err != nil {
		return CapBla{}, err
	}
	answer, release := carol.CapBla(ctx, nil)
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return CapBla{}, err
	}
	return results.CapBla().AddRef(), nil // the results go with the answer
}

// Foo implements BobAPI: it answers at once with a promise.
func (b *Bob) Foo(ctx context.Context, call BobAPI_foo) error {
	promise, err := b.promise()
	if err != nil {
		return err
	}
	b.called.tell(ctx, "foo")
	results, err := call.AllocResults()
	if err != nil {
		promise.Release()
		return err
	}
	return results.SetCapBla(promise)
}

// promise returns what foo promises; the caller owns it.
func (b *Bob) promise() (CapBla, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.vat == nil {
		return CapBla{}, errors.New("bob has nothing to give")
	}
	if b.resolved {
		return b.capBla.AddRef(), nil
	}
	promise, resolver := vat.NewPromise[CapBla](b.vat)
	b.promises = append(b.promises, resolver)
	return promise, nil
}

// Resolve resolves all promises to Carol's CapBla. From then on their holders talk to Carol.
func (b *Bob) Resolve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.promises {
		p.Fulfill(b.capBla.AddRef()) // Fulfill keeps the reference it is given
	}
	b.promises, b.resolved = nil, true
}

// LetGo releases what Bob holds of Carol's. Promises that were not resolved are rejected.
func (b *Bob) LetGo() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.promises {
		p.Reject(errors.New("bob let go"))
	}
	b.capBla.Release()
	b.carol.Release()
	b.promises, b.capBla, b.carol, b.vat = nil, CapBla{}, CarolAPI{}, nil
}
