package actors

import "github.com/asynkron/protoactor-go/actor"

// A Brood spawns children that run Inline and are there already. All have one Props, which weighs as much as the rest of
// a small actor, and is otherwise made anew for each. They must be supervised by a strategy that restarts none (see
// Supervisor): there is no second actor to take the place of the first.
//
// Its methods are for one goroutine at a time: the turns of the parent.
type Brood struct {
	props *actor.Props
	next  actor.Actor // the one that is being spawned, else nil
}

// NewBrood makes a Brood.
func NewBrood() *Brood {
	b := new(Brood)
	b.props = actor.PropsFromProducer(b.take, Inline())
	return b
}

// take is called within Spawn.
func (b *Brood) take() actor.Actor {
	a := b.next
	if a == nil {
		panic("actors: a Brood does not restart its actors")
	}
	b.next = nil
	return a
}

// Spawn spawns a below parent. Its error is protoactor's, where the name is taken.
func (b *Brood) Spawn(parent actor.SpawnerContext, a actor.Actor, name string) (*actor.PID, error) {
	b.next = a
	return parent.SpawnNamed(b.props, name)
}
