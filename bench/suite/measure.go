package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A subject is one system doing one thing in one way.
type subject struct {
	row     Row // without what is measured
	callers int // at a time
	procs   int // GOMAXPROCS meanwhile; 0: as it is
	op      func(context.Context) error
	usage   func() (Usage, error) // of all processes concerned
	// before, if not nil, prepares at most so many operations, slice at a time, and is not measured.
	before func(ctx context.Context, ops int) error
	slice  int

	rounds []round
	err    error
}

// maxOps bounds what is kept of a round.
const maxOps = 1 << 22

// measure runs s for about d, after a fifth of that which does not count, and leaves nothing running.
func (s *subject) measure(ctx context.Context, d time.Duration) error {
	if s.procs > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(s.procs))
	}
	if _, err := s.run(ctx, d/5); err != nil {
		return err
	}
	r, err := s.run(ctx, d)
	if err != nil {
		return err
	}
	s.rounds = append(s.rounds, r)
	return s.rest(ctx)
}

// At rest, the processes of a subject allocate less than that in that time: being asked for their usage makes them
// allocate, too.
const (
	restTime   = 10 * time.Millisecond
	restAllocs = 300
	maxRest    = time.Second // what is busy all the time is not waited for any longer
)

// rest waits until what the operations have left behind is done. A runtime that returns results sooner than it is through
// with a call (go-capnp sends its Finishes later, for up to half a second after 64 callers) would else go on while the next
// subject is measured, and on its account.
func (s *subject) rest(ctx context.Context) error {
	last, err := s.usage()
	for end := time.Now().Add(maxRest); err == nil && ctx.Err() == nil && time.Now().Before(end); {
		select {
		case <-time.After(restTime):
		case <-ctx.Done():
		}
		before := last
		if last, err = s.usage(); last.Mallocs-before.Mallocs < restAllocs {
			break
		}
	}
	return err
}

// run is one round: slices of operations, until they have taken d together.
func (s *subject) run(ctx context.Context, d time.Duration) (sum round, err error) {
	for sum.ops == 0 || sum.wall < d {
		n := maxOps
		if s.before != nil {
			n = s.slice
			if err := s.before(ctx, n); err != nil {
				return sum, err
			}
		}
		r, err := s.runSlice(ctx, d-sum.wall, n)
		if err != nil {
			return sum, err
		}
		sum.ops += r.ops
		sum.wall += r.wall
		sum.cpu += r.cpu
		sum.allocs += r.allocs
		sum.latencies = append(sum.latencies, r.latencies...)
	}
	return sum, nil
}

// runSlice runs at most n operations, for about d, one at least.
func (s *subject) runSlice(ctx context.Context, d time.Duration, n int) (round, error) {
	before, err := s.usage()
	if err != nil {
		return round{}, err
	}
	var left atomic.Int64
	left.Store(int64(n))
	latencies, errs := make([][]time.Duration, s.callers), make([]error, s.callers)
	start := time.Now()
	end := start.Add(d)
	var all sync.WaitGroup
	for i := range s.callers {
		all.Go(func() {
			last := time.Now()
			for left.Add(-1) >= 0 && errs[i] == nil {
				errs[i] = s.op(ctx)
				now := time.Now()
				latencies[i] = append(latencies[i], now.Sub(last))
				if last = now; now.After(end) {
					return
				}
			}
		})
	}
	all.Wait()
	wall := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return round{}, fmt.Errorf("%s: %w", s.row.System, errs[slices.IndexFunc(errs, func(e error) bool { return e != nil })])
	}
	after, err := s.usage()
	r := round{wall: wall, cpu: after.CPU - before.CPU, allocs: after.Mallocs - before.Mallocs, latencies: slices.Concat(latencies...)}
	r.ops = len(r.latencies)
	return r, err
}
