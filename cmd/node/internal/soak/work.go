package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/examples/threeparty"
)

// work is one worker: a round after the other.
func (p *party) work(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			p.round()
		}
	}
}

// round asks some vat for a capability and calls it.
func (p *party) round() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	boot := threeparty.BobAPI(p.boot(ctx, p.other()))
	defer boot.Release()
	foo, release := boot.Foo(ctx, nil)
	defer release()
	bla := foo.CapBla().AddRef()
	defer bla.Release()
	if rand.IntN(50) == 0 {
		ans, release := bla.Bar(ctx, func(a threeparty.CapBla_bar_Params) error { return a.SetBarArg(panicArg) })
		_, err := ans.Struct()
		p.count(err)
		release()
	}
	arg := fmt.Sprintf("%s-%d", p.name, rand.Uint32())
	bar, release := bla.Bar(ctx, func(a threeparty.CapBla_bar_Params) error { return a.SetBarArg(arg) })
	defer release()
	capBar := bar.CapBar().AddRef()
	defer capBar.Release()

	next := 0
	p.creeks(ctx, capBar, arg, &next, 1+rand.IntN(8))
	if rand.IntN(20) == 0 {
		short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
		p.creeks(short, capBar, arg, &next, 1+rand.IntN(4))
		cancel()
	}
	p.creeks(ctx, capBar, arg, &next, 1+rand.IntN(4)) // after the handoff, most likely
	if _, err := foo.Struct(); err != nil {
		// It has broken: there is no hurry to ask again.
		time.Sleep(10 * time.Millisecond)
	}
}

// creeks makes numbered calls, without waiting for one before the next, and sees what comes of them.
func (p *party) creeks(ctx context.Context, bar threeparty.CapBar, arg string, next *int, n int) {
	type pending struct {
		ans     threeparty.CapBar_creek_Results_Future
		release func()
		number  string
	}
	until, _ := ctx.Deadline()
	patient := time.Until(until) > patience/2
	var calls []pending
	for range n {
		*next++
		number := fmt.Sprint(*next)
		ans, release := bar.Creek(ctx, func(a threeparty.CapBar_creek_Params) error { return a.SetCreekArg(number) })
		calls = append(calls, pending{ans, release, number})
	}
	for _, c := range calls {
		res, err := c.ans.Struct()
		if err == nil {
			var text string
			if text, err = res.CreekResult(); err == nil && text != answer(c.number, arg) {
				p.violated("the answer to %s of %s is %q", c.number, arg, text)
			}
		}
		if errors.Is(err, context.DeadlineExceeded) && patient {
			p.violated("no answer within %v: call %s of %s: %v", patience, c.number, arg, err)
		}
		p.count(err)
		c.release()
	}
}

// What calls fail with, by a part of the text; the first that fits.
var reasons = []struct{ part, name string }{
	{"it was told to", "panicked, as told"},
	{"cannot pick up", "handoff failed, the host may have had the call"},
	{"the way through", "handoff failed, and the introducer is lost"},
	{"cannot reach", "a vat cannot be reached"},
	{"has started a new session", "a peer has connected anew"},
	{"connection to", "a connection was lost"},
}

// ids are what is different each time: ids of vats, ports, numbers.
var ids = regexp.MustCompile(`\d+(\.\d+){3}:\d+|[0-9a-f]{8,}|\d+`)

// reason is why a call failed, without what is different each time.
func reason(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "given up by its caller"
	}
	for _, r := range reasons {
		if strings.Contains(err.Error(), r.part) {
			return r.name
		}
	}
	return exc.TypeOf(err).String() + ": " + ids.ReplaceAllString(err.Error(), "…")
}
