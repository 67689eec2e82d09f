package actors

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Runners keep a few goroutines, and none after End; what they are given is run all the same.
func TestRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Runners
		idle := func(want int) {
			t.Helper()
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.idle) != want {
				t.Errorf("%d are idle, want %d", len(r.idle), want)
			}
		}
		var ran atomic.Int32
		for range 3 { // by the same
			r.Go(func() { ran.Add(1) })
			idle(1)
		}
		hold := make(chan struct{})
		for range 2 * spareRunners { // none of which waits for another
			r.Go(func() { ran.Add(1); <-hold })
		}
		idle(0)
		if n := ran.Load(); n != 3+2*spareRunners {
			t.Fatalf("%d have been run, want all", n)
		}
		close(hold)
		idle(spareRunners)

		again := make(chan struct{})
		r.Go(func() { ran.Add(1); <-again })
		idle(spareRunners - 1)
		r.End()
		r.Go(func() { ran.Add(1) })
		close(again)
		idle(0)
		if n := ran.Load(); n != 3+2*spareRunners+2 {
			t.Errorf("%d have been run, want all", n)
		}
	}) // and no goroutine is left in the bubble
}

// All that many give to runners that end meanwhile is run, once.
func TestRunnersEndAtAnyTime(t *testing.T) {
	var r Runners
	var ran atomic.Int32
	var all, given sync.WaitGroup
	const givers, each = 8, 100
	all.Add(givers * each)
	for i := range givers {
		given.Go(func() {
			for n := range each {
				r.Go(func() { ran.Add(1); all.Done() })
				if i == 0 && n == each/2 {
					r.End()
				}
			}
		})
	}
	given.Wait()
	all.Wait()
	if n := ran.Load(); n != givers*each {
		t.Errorf("%d were run, want %d", n, givers*each)
	}
}
