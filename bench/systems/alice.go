package systems

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/vatwork/vatwork/bench/wire"
)

// An Alice is who measures handoffs. Its methods may be called from any goroutine.
type Alice struct {
	Broker wire.Broker
	// Direct is the host's bootstrap, reached without the broker.
	Direct wire.Host
	// Forget ends whatever connection there is to the host; the next handoff makes one anew. Nil where there is none.
	Forget func()
	Close  func() error

	promised atomic.Uint32
}

// Stock has the broker fetch what n handoffs give away.
func (a *Alice) Stock(ctx context.Context, n int) error {
	answer, release := a.Broker.Stock(ctx, func(p wire.Broker_stock_Params) error { p.SetCount(uint32(n)); return nil })
	defer release()
	_, err := answer.Struct()
	return err
}

// Handoff asks the broker for a fresh capability of the host's, makes a first call on it, and lets it go.
func (a *Alice) Handoff(ctx context.Context, data []byte) error {
	answer, release := a.Broker.Give(ctx, nil)
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return err
	}
	return Call(ctx, results.Echo(), data)
}

// Through is the host's bootstrap, as the broker hands it on. The caller releases it.
func (a *Alice) Through(ctx context.Context) (wire.Echo, error) {
	answer, release := a.Broker.Through(ctx, nil)
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return wire.Echo{}, err
	}
	return results.Echo().AddRef(), nil
}

// Desk is an Echo at the broker, behind which the host does the work: by a tail call, or by a call whose results are
// copied. The caller releases it.
func (a *Alice) Desk(ctx context.Context, tail bool) (wire.Echo, error) {
	answer, release := a.Broker.Desk(ctx, func(p wire.Broker_desk_Params) error { p.SetTail(tail); return nil })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return wire.Echo{}, err
	}
	return results.Echo().AddRef(), nil
}

// Scenario is the whole exchange of a handoff: Alice is promised a Bla, calls bar on it, and creek on what that
// returns, before the broker resolves the promise to the host's; then she calls bar again, and lets all go.
func (a *Alice) Scenario(ctx context.Context) error {
	number := a.promised.Add(1)
	promise, release := a.Broker.Promise(ctx, func(p wire.Broker_promise_Params) error { p.SetNumber(number); return nil })
	defer release()
	bla := promise.Bla()
	first, releaseFirst := bla.Bar(ctx, func(p wire.Bla_bar_Params) error { return p.SetText("first") })
	defer releaseFirst()
	resolve, releaseResolve := a.Broker.Fulfill(ctx, func(p wire.Broker_fulfill_Params) error { p.SetNumber(number); return nil })
	defer releaseResolve()
	creek, releaseCreek := first.Bar().Creek(ctx, func(p wire.Bar_creek_Params) error { return p.SetText("water") })
	defer releaseCreek()
	second, releaseSecond := bla.Bar(ctx, func(p wire.Bla_bar_Params) error { return p.SetText("second") })
	defer releaseSecond()
	if _, err := resolve.Struct(); err != nil {
		return err
	}
	if _, err := second.Struct(); err != nil {
		return err
	}
	results, err := creek.Struct()
	if err != nil {
		return err
	}
	if text, err := results.Text(); err != nil || text != "water of first" {
		return fmt.Errorf("creek said %q: %v", text, err)
	}
	return nil
}
