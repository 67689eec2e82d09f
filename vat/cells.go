package vat

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
)

// A tableCell is a cell that is an actor, child of its session: question/<id> and so on. It is used again with
// its id, since spawning an actor for each call would cost more than the call's own turn.
//
// It is spoken to by its session alone, inline: what it was told has been done when the send returns, unless
// it panicked. protoactor swallows that, so the message says whether it was done.
type tableCell struct {
	host  *sessionActor
	name  string
	pid   *actor.PID
	actor *tableActor
}

type tableActor struct{ state any }

type visitState struct {
	f    func(state any)
	done bool
}

// Receive implements actor.Actor.
func (t *tableActor) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*visitState); ok {
		m.f(t.state)
		m.done = true
	}
}

// cell implements host.
func (a *sessionActor) cell(kind string, id uint32, state any) cell {
	name := fmt.Sprintf("%s/%d", kind, id)
	c := a.spare[name]
	if c != nil {
		delete(a.spare, name)
		c.reset(state)
		return c
	}
	c = &tableCell{host: a, name: name, actor: &tableActor{state: state}}
	pid, err := a.ctx.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return c.actor }, actors.Inline()), name)
	check(err)
	c.pid = pid
	return c
}

func (c *tableCell) visit(f func(state any)) {
	m := &visitState{f: f}
	c.host.ctx.Send(c.pid, m)
	if !m.done {
		panic(cellFailed(c.name))
	}
}

// cellFailed is what a turn fails with when one of its table actors has.
type cellFailed string

func (c cellFailed) String() string { return "actor " + string(c) + " has failed" }

func (c *tableCell) reset(state any) {
	c.visit(func(any) { c.actor.state = state })
}

func (c *tableCell) retire() {
	c.reset(nil)
	if len(c.host.spare) >= spareCells {
		c.host.ctx.Stop(c.pid)
		return
	}
	if c.host.spare == nil {
		c.host.spare = map[string]*tableCell{}
	}
	c.host.spare[c.name] = c
}

// salvage is the state as it was left, also by an actor that failed: what waits on it must still be told.
func (c *tableCell) salvage() any { return c.actor.state }
