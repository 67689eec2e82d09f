package threeparty

import (
	"context"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// Alice calls on what Bob promised her before she has it, and goes on calling when it has turned out to be
// Carol's. She notices nothing of the handoff: that is the point. One goroutine runs her.
type Alice struct {
	bob    BobAPI
	capBla CapBla
	capBar CapBar

	releases []capnp.ReleaseFunc // of all that she holds, the latest first
}

// Ask calls foo on Bob and, without waiting for the answer, bar on the capability in it. It returns when
// both are on their way. The calls live until LetGo, or until ctx ends.
func (a *Alice) Ask(ctx context.Context, v *vat.Vat, bob transport.VatID, barArg string, addrs ...string) error {
	a.bob = BobAPI(v.Bootstrap(ctx, bob, addrs...))
	a.releases = []capnp.ReleaseFunc{a.bob.Release}
	if err := a.bob.Resolve(ctx); err != nil {
		return err
	}
	foo, releaseFoo := a.bob.Foo(ctx, nil)
	a.capBla = foo.CapBla() // once: a second time before foo returns would lock it, see README
	bar, releaseBar := a.capBla.Bar(ctx, func(p CapBla_bar_Params) error { return p.SetBarArg(barArg) })
	a.capBar = bar.CapBar()
	a.releases = append([]capnp.ReleaseFunc{releaseBar, releaseFoo}, a.releases...)
	return nil
}

// Use calls creek on what the first bar gave, then bar once more, and returns creek's result when both have
// returned. Their answers live until LetGo, too.
func (a *Alice) Use(ctx context.Context, creekArg, barArg string) (string, error) {
	creek, releaseCreek := a.capBar.Creek(ctx, func(p CapBar_creek_Params) error { return p.SetCreekArg(creekArg) })
	bar, releaseBar := a.capBla.Bar(ctx, func(p CapBla_bar_Params) error { return p.SetBarArg(barArg) })
	a.releases = append([]capnp.ReleaseFunc{releaseCreek, releaseBar}, a.releases...)
	results, err := creek.Struct()
	if err != nil {
		return "", err
	}
	if _, err := bar.Struct(); err != nil {
		return "", err
	}
	return results.CreekResult()
}

// LetGo releases everything that Alice holds.
func (a *Alice) LetGo() {
	for a.LetGoNext() {
	}
}

// LetGoNext releases the latest of what Alice holds: creek, the second bar, the first, foo, and then Bob. It
// reports whether there was anything.
func (a *Alice) LetGoNext() bool {
	if len(a.releases) == 0 {
		return false
	}
	a.releases[0]()
	a.releases = a.releases[1:]
	return true
}
