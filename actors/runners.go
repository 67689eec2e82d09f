package actors

import "sync"

// Runners run functions, each on a goroutine of its own, and keep some of these for the next ones: a goroutine that is
// new grows its stack several times for one turn of a session, which takes longer than most turns do. The zero value is
// ready.
//
// States of a runner: running; idle (in idle, it waits for its channel); ended, where there are enough idle ones, or after
// End.
type Runners struct {
	mu    sync.Mutex
	idle  []chan func()
	ended bool
}

// spareRunners is how many are kept idle.
const spareRunners = 4

// Go runs f. It does not wait.
func (r *Runners) Go(f func()) {
	r.mu.Lock()
	last := len(r.idle) - 1
	if last < 0 {
		r.mu.Unlock()
		go r.run(f)
		return
	}
	next := r.idle[last] // the one that ran last
	r.idle = r.idle[:last]
	r.mu.Unlock()
	next <- f // there is room: it is idle once for each
}

func (r *Runners) run(f func()) {
	next := make(chan func(), 1)
	for more := true; more; f, more = <-next {
		f()
		if !r.rest(next) {
			return
		}
	}
}

// rest makes the runner of next an idle one, or says that it is to end.
func (r *Runners) rest(next chan func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || len(r.idle) >= spareRunners {
		return false
	}
	r.idle = append(r.idle, next)
	return true
}

// End ends the idle runners, and the others when they are through. What is to be run from then on is, by a goroutine that
// ends with it.
func (r *Runners) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for _, next := range r.idle {
		close(next)
	}
	r.idle = nil
}
