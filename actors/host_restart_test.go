package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3/exc"
)

// Calls that wait are kept over a restart, and run in order by the new instance. The one that panicked gets the
// panic's text.
func TestRestartKeepsWaitingCalls(t *testing.T) {
	h := host(t, Policy{})
	ctx := t.Context()
	first := h.call(ctx, wait)
	<-h.entered
	before, bad := h.call(ctx, mark), h.call(ctx, boom)
	after, unknown, last := h.call(ctx, mark), h.call(ctx, none), h.call(ctx, mark)
	if state, n := h.State(); state != "serving" || n != 6 {
		t.Errorf("state %q with %d calls, want serving with 6", state, n)
	}
	h.let <- struct{}{}
	wantNil(t, "wait", <-first)
	wantNil(t, "before", <-before)
	wantExc(t, "the call that panicked", <-bad, exc.Failed, "object/x: @0x0.@1 panicked: boom of 1")
	wantNil(t, "after", <-after)
	if err := <-unknown; exc.TypeOf(err) != exc.Unimplemented {
		t.Errorf("unknown method: %v", err)
	}
	wantNil(t, "last", <-last)
	h.wantRuns(1, 2, 2)
	h.wantDown(1)
}

// Every one of many waiting calls panics: each gets an instance of its own, and the last good one is served.
func TestRestartsOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, Policy{Restarts: 20})
		var calls []<-chan error
		for range 20 {
			calls = append(calls, h.call(t.Context(), boom))
		}
		last := h.call(t.Context(), mark)
		for _, c := range calls {
			if err := <-c; exc.TypeOf(err) != exc.Failed {
				t.Errorf("a call that panicked: %v", err)
			}
		}
		wantNil(t, "last", <-last)
		h.wantRuns(21)
		h.wantDowns(20)
	})
}

// A call that runs beside one that panics ends on the instance where it began. That is shut down when it has.
func TestRestartBesideARunningCall(t *testing.T) {
	h := host(t, Policy{})
	ctx := t.Context()
	sibling := h.call(ctx, goes)
	<-h.entered
	bad := h.call(ctx, boom)
	wantExc(t, "the call that panicked", <-bad, exc.Failed, "object/x: @0x0.@1 panicked: boom of 1")
	wantNil(t, "a call after the restart", <-h.call(ctx, mark))
	h.wantRuns(2)
	if n := len(h.downs); n != 0 {
		t.Error("the first instance was shut down while a call ran on it")
	}
	h.let <- struct{}{}
	wantNil(t, "the sibling", <-sibling)
	h.wantDown(1)
}

// Of calls that run side by side on one instance only the first panic counts: both are told, there is one restart.
func TestTwoPanicsOfOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, Policy{Restarts: 1})
		a, b := h.call(t.Context(), gasps), h.call(t.Context(), gasps)
		<-h.entered
		<-h.entered
		h.let <- struct{}{}
		synctest.Wait()
		h.let <- struct{}{}
		for _, c := range []<-chan error{a, b} {
			wantExc(t, "a call that panicked", <-c, exc.Failed, "object/x: @0x0.@4 panicked: last gasp of 1")
		}
		wantNil(t, "a call on the second instance", <-h.call(t.Context(), mark))
		h.wantRuns(2)
		h.wantDown(1)
		synctest.Wait()
		if n := len(h.downs); n != 0 {
			t.Errorf("%d more shutdowns", n)
		}
	})
}

// The backoff is how long calls wait for the instance after next.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, Policy{Backoff: time.Minute, MaxBackoff: time.Hour, Within: 24 * time.Hour})
		for _, want := range []time.Duration{0, time.Minute, 2 * time.Minute} {
			<-h.call(t.Context(), boom)
			begin := time.Now()
			next := h.call(t.Context(), mark)
			if want > 0 {
				synctest.Wait()
				if state, _ := h.State(); state != "restarting" {
					t.Errorf("state %q, want restarting", state)
				}
			}
			wantNil(t, "the call after", <-next)
			if took := time.Since(begin); took != want {
				t.Errorf("it waited %v, want %v", took, want)
			}
		}
	})
}

// A caller that gives up while there is no instance is answered then.
func TestCanceledWhileRestarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, Policy{Backoff: time.Hour, MaxBackoff: time.Hour, Within: 24 * time.Hour})
		<-h.call(t.Context(), boom)
		<-h.call(t.Context(), boom)
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		impatient, patient := h.call(ctx, mark), h.call(t.Context(), mark)
		synctest.Wait()
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("canceled after %v", took)
		}
		wantNil(t, "the call behind it", <-patient)
		h.wantRuns(3)
	})
}

func TestCanceledWhileItRuns(t *testing.T) {
	h := host(t, Policy{})
	ctx, cancel := context.WithCancel(t.Context())
	c := h.call(ctx, wait)
	<-h.entered
	cancel()
	if err := <-c; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// A panic of the producer counts as one of a method: at the start, and at a restart.
func TestProducerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosted(t, Policy{}, Admission{})
		bad := map[int]bool{1: true, 2: true, 4: true}
		h.producing = func(n int) {
			if bad[n] {
				panic("no instance today")
			}
		}
		early := h.call(t.Context(), mark) // before there is any
		h.Begin()
		wantNil(t, "a call that came before the first instance", <-early)
		<-h.call(t.Context(), boom)
		wantNil(t, "a call after a restart that failed once", <-h.call(t.Context(), mark))
		h.wantRuns(3, 5)
		h.wantDown(3)
	})
}

func TestProducerThatNeverSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosted(t, Policy{Restarts: 3}, Admission{})
		h.producing = func(int) { panic("no instance ever") }
		h.Begin()
		c := h.call(t.Context(), mark)
		const why = "object/x has stopped: 3 restarts within 1m0s, and again: no instance ever"
		wantExc(t, "the call", <-c, exc.Failed, why)
		wantExc(t, "Stopped", <-h.ended, exc.Failed, why)
		if h.made != 4 {
			t.Errorf("the producer ran %d times, want 4", h.made)
		}
	})
}

// A producer may use the vat, and so the actor system: it does not run within a turn of its parent.
func TestProducerSpawns(t *testing.T) {
	h := newHosted(t, Policy{}, Admission{})
	house := newHouse(t, StopOnFailure(nil))
	h.producing = func(n int) { house.spawn("by-"+string(rune('0'+n)), noter(new([]string))) }
	h.Begin()
	<-h.call(t.Context(), boom)
	wantNil(t, "a call after a restart", <-h.call(t.Context(), mark))
	h.wantRuns(2)
}
