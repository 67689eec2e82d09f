package sim

import "math/rand/v2"

// A trouble is how much is broken on purpose. Each has those before it.
type trouble int

const (
	none   trouble = iota // links are held for a while: nothing may be lost
	calls                 // calls are canceled, fail, panic: no other call may be touched
	breaks                // promises break, links are cut, vats crash and come back
)

// plan is what a seed decides about a run as a whole.
type plan struct {
	seed    uint64
	vats    int
	drivers int // of each vat
	steps   int // of each driver
	trouble trouble
	free    bool // turns run wherever they are posted, and not as the seed says
	native  bool // objects are servers of go-capnp, some of them, and not of Spawn
	early   bool // methods return early
	level1  int  // so many of the vats know no handoff
	fronts  bool // objects answer by tail calls, some of them
	forward bool // vats forward calls on their promises
}

func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := plan{
		seed:    seed,
		vats:    3 + r.IntN(4),
		drivers: 1 + r.IntN(3),
		trouble: trouble(r.IntN(3)),
		free:    r.IntN(4) == 0,
		early:   r.IntN(2) == 0,
	}
	p.steps = 6 + r.IntN(100/(p.vats*p.drivers))
	p.native = r.IntN(3) == 0 && p.trouble < breaks
	if r.IntN(4) == 0 {
		p.level1 = 1 + r.IntN(2)
	}
	if r.IntN(10) == 0 {
		p.steps *= 6 // some need a crowd
	}
	p.fronts = r.IntN(2) == 0 // drawn last: without, a run is what it was before there were any
	p.forward = r.IntN(3) == 0
	return p
}
