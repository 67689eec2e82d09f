package threeparty

import "context"

// Called is told of each call that an object here gets ("foo", "bar first", "creek water"), on the goroutine
// of the object and before the method does its work. The method waits for it, so whoever gives one decides
// when a call returns; ctx ends when the call is cancelled. A nil Called does nothing.
type Called func(ctx context.Context, what string)

func (c Called) tell(ctx context.Context, what string) {
	if c != nil {
		c(ctx, what)
	}
}

// NewCarol returns the bootstrap of Carol, who hosts one CapBla and each CapBar that comes of it.
func NewCarol(called Called) CarolAPI {
	return CarolAPI_ServerToClient(&carol{bla: CapBla_ServerToClient(capBla{called})})
}

// carol is the bootstrap object; it holds its CapBla as long as anyone holds the bootstrap.
type carol struct{ bla CapBla }

func (c *carol) CapBla(_ context.Context, call CarolAPI_capBla) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCapBla(c.bla.AddRef()) // the message releases the reference it is given
}

// Shutdown runs when the last reference to the bootstrap is gone.
func (c *carol) Shutdown() { c.bla.Release() }

// capBla makes CapBars. It handles one call after the other, in the order of their arrival.
type capBla struct{ called Called }

func (c capBla) Bar(ctx context.Context, call CapBla_bar) error {
	arg, err := call.Args().BarArg()
	if err != nil {
		return err
	}
	c.called.tell(ctx, "bar "+arg)
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCapBar(CapBar_ServerToClient(capBar{c.called, arg}))
}

// capBar is what became of one call of bar.
type capBar struct {
	called Called
	barArg string
}

func (c capBar) Creek(ctx context.Context, call CapBar_creek) error {
	arg, err := call.Args().CreekArg()
	if err != nil {
		return err
	}
	c.called.tell(ctx, "creek "+arg)
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCreekResult(arg + " of " + c.barArg)
}
