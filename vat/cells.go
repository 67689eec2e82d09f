package vat

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// A tableCell is a cell that is an actor, child of its session: question/<id> and so on. It is used again with
// its id, since spawning an actor for each call would cost more than the call's own turn.
//
// It is spoken to by its session alone, inline: what it was told has been done when the send returns, unless
// it panicked. protoactor swallows that, so the message says whether it was done.
//
// It is asked once in each turn that wants its state, for that is lent for the turn. That is most of what a session does
// with protoactor, and in a session with many entries each is out of the processor's cache by then: so it is all in one
// piece, and knows its actor's process, which a PID would look up.
type tableCell struct {
	host  *sessionActor
	key   cellKey
	pid   *actor.PID
	to    actor.Process // of pid
	actor tableActor
	ask   lendState // the message, used again; with the state, while it is lent
	turn  uint64    // in which it was lent
}

// cellKey is what a table actor is named by.
type cellKey struct {
	kind string
	id   uint32
}

func (k cellKey) String() string { return fmt.Sprintf("%s/%d", k.kind, k.id) }

type tableActor struct{ state any }

// lendState asks a table actor for its state, which is the turn's until that ends: no other turn is run meanwhile,
// and nobody else asks.
type lendState struct {
	state any
	done  bool
}

// Receive implements actor.Actor.
func (t *tableActor) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*lendState); ok {
		m.state, m.done = t.state, true
	}
}

// cell implements host.
func (a *sessionActor) cell(kind string, id uint32, state any) cell {
	key := cellKey{kind, id}
	c := &tableCell{host: a, key: key, actor: tableActor{state: state}, ask: lendState{state: state}, turn: a.turns}
	pid, err := a.cells.Spawn(a.ctx, &c.actor, key.String())
	check(err)
	c.pid = pid
	c.to, _ = a.ctx.ActorSystem().ProcessRegistry.Get(pid)
	return c
}

// lend implements cell.
func (c *tableCell) lend() (state any) {
	if c.turn == c.host.turns {
		return c.ask.state
	}
	c.ask = lendState{}
	c.to.SendUserMessage(c.pid, &c.ask)
	if !c.ask.done {
		panic(cellFailed(c.key.String()))
	}
	c.turn = c.host.turns
	return c.ask.state
}

// cellFailed is what a turn fails with when one of its table actors has.
type cellFailed string

func (c cellFailed) String() string { return "actor " + string(c) + " has failed" }

// clear implements cell. Like reuse it takes no message: nobody looks at what the actor has, between two entries.
func (c *tableCell) clear() { c.actor.state, c.ask = nil, lendState{} }

// reuse implements cell.
func (c *tableCell) reuse(state any) {
	c.actor.state, c.ask.state = state, state // lent at once
	c.turn = c.host.turns
}

// retire implements cell.
func (c *tableCell) retire() {
	c.clear()
	c.host.ctx.Stop(c.pid)
}

// salvage is the state as it was left, also by an actor that failed: what waits on it must still be told.
func (c *tableCell) salvage() any { return c.actor.state }
