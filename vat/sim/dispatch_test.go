package sim

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A dispatcher gives everything that is to run a moment of its own, at random in the near future: what runs next is
// what comes first. Moments are of fake time, which goes on when all that has been started is at rest.
type dispatcher struct {
	mu    sync.Mutex
	rand  *rand.Rand
	start time.Time
	taken map[time.Duration]bool // by what is to run, since start
	near  time.Duration

	runners actors.Runners
}

func newDispatcher(seed uint64) *dispatcher {
	r := rand.New(rand.NewPCG(seed, 3))
	near := []time.Duration{2, 20, 200}[r.IntN(3)] * time.Microsecond
	return &dispatcher{rand: r, start: time.Now(), taken: map[time.Duration]bool{}, near: near}
}

// Throughput implements actor.Dispatcher: one turn at a time.
func (d *dispatcher) Throughput() int { return 1 }

// Schedule implements actor.Dispatcher.
func (d *dispatcher) Schedule(f func()) {
	d.mu.Lock()
	soon := time.Duration(d.rand.Int64N(int64(d.near)))
	d.mu.Unlock()
	at := d.moment(soon)
	time.AfterFunc(at-time.Since(d.start), func() {
		d.pass(at)
		d.runners.Go(f)
	})
}

// end has all goroutines of the dispatcher end.
func (d *dispatcher) end() { d.runners.End() }

// sleep waits until a moment of its own after wait, or until hurry is closed.
func (d *dispatcher) sleep(wait time.Duration, hurry <-chan struct{}) {
	at := d.moment(wait)
	defer d.pass(at)
	select {
	case <-time.After(at - time.Since(d.start)):
	case <-hurry:
	}
}

// moment is the first one after wait that nothing else has.
func (d *dispatcher) moment(wait time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := time.Since(d.start) + wait + 1
	for d.taken[at] {
		at++
	}
	d.taken[at] = true
	return at
}

func (d *dispatcher) pass(at time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.taken, at)
}

// hooked is a network with hooks for its vat.
type hooked struct {
	transport.Network
	hooks hook.Hooks
}

func (h hooked) Hooks() hook.Hooks { return h.hooks }
