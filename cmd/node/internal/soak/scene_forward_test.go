package soak

import (
	"context"
	"errors"
	"sync"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/vat"
)

// waitArg has carol's object wait until it is told to go on.
const waitArg = "wait"

var errNoTailCall = errors.New("no tail call: bob has dropped his reference")

// forwards is what bob's object ends its calls in: calls of to. Nothing of it happens before on is set.
type forwards struct {
	mu sync.Mutex
	on bool
	to threeparty.CapBla // null: dropped
}

func (f *forwards) start(to threeparty.CapBla) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on, f.to = true, to
}

func (f *forwards) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to.Release()
	f.to = threeparty.CapBla{}
}

// bar forwards a call, if that is what bob's object does.
func (f *forwards) bar(ctx context.Context, call threeparty.CapBla_bar, arg string) (forwarded bool, err error) {
	f.mu.Lock()
	on, to := f.on, f.to.AddRef()
	f.mu.Unlock()
	defer to.Release()
	switch {
	case !on:
		return false, nil
	case !to.IsValid():
		return true, errNoTailCall
	}
	return true, vat.TailCall(ctx, call, to, threeparty.CapBla.Bar, func(p threeparty.CapBla_bar_Params) error { return p.SetBarArg(arg) })
}
