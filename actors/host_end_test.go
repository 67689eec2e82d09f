package actors

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3/exc"
)

// wantStopped checks all that tells that a host has ended: with why, or nil for Close.
func (h *hosted) wantStopped(why error) {
	h.t.Helper()
	if got := <-h.ended; !errors.Is(got, why) {
		h.t.Errorf("Stopped was told %v, want %v", got, why)
	}
	<-h.Broken()
	if h.Err() == nil {
		h.t.Error("Err is nil")
	}
	if state, n := h.State(); state != "stopped" || n != 0 {
		h.t.Errorf("state %q with %d calls", state, n)
	}
	if err := <-h.call(h.t.Context(), mark); err == nil || err.Error() != h.Err().Error() {
		h.t.Errorf("a call on a stopped object: %v, want %v", err, h.Err())
	}
	if n := len(h.ended); n != 0 {
		h.t.Error("Stopped was told twice")
	}
}

func TestStopsAndEscalates(t *testing.T) {
	tests := []struct {
		name      string
		policy    Policy
		why       string
		escalated bool
	}{
		{"stop", Policy{On: Stop}, "object/x has stopped: boom of 1", false},
		{"escalate", Policy{On: Escalate}, "object/x has stopped: boom of 1", true},
		{"budget", Policy{Restarts: 1, Within: time.Hour}, "object/x has stopped: 1 restarts within 1h0m0s, and again: boom of 2", false},
		{"no budget", Policy{Restarts: -1, Within: time.Hour}, "object/x has stopped: 0 restarts within 1h0m0s, and again: boom of 1", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := host(t, test.policy)
			if test.policy.Restarts > 0 {
				<-h.call(t.Context(), boom)
				h.wantDown(1)
			}
			first := h.call(t.Context(), wait)
			<-h.entered
			bad, waiting := h.call(t.Context(), boom), h.call(t.Context(), mark)
			h.let <- struct{}{}
			wantNil(t, "wait", <-first)
			if err := <-bad; err == nil || !strings.Contains(err.Error(), "panicked: boom") {
				t.Errorf("the call that panicked: %v", err)
			}
			wantExc(t, "a call that waited", <-waiting, exc.Failed, test.why)
			why := <-h.ended
			wantExc(t, "Stopped", why, exc.Failed, test.why)
			h.ended <- why
			h.wantStopped(why)
			if n := len(h.escalated); (n == 1) != test.escalated || n > 1 {
				t.Errorf("escalated %d times", n)
			}
			h.wantRuns()
			<-h.downs
		})
	}
}

// Close ends the object when what was accepted has been answered, not before, and shuts the instance down once.
func TestCloseWithCallsWaiting(t *testing.T) {
	h := host(t, Policy{})
	running, waiting := h.call(t.Context(), wait), h.call(t.Context(), mark)
	<-h.entered
	h.Close()
	h.Close()
	late := h.call(t.Context(), mark)
	select {
	case <-h.Broken():
		t.Error("ended with calls waiting")
	default:
	}
	if h.Err() != nil {
		t.Errorf("Err is %v while calls run", h.Err())
	}
	h.let <- struct{}{}
	wantNil(t, "running", <-running)
	wantNil(t, "waiting", <-waiting)
	wantNil(t, "late", <-late)
	h.wantStopped(nil)
	h.wantRuns(1, 1)
	h.wantDown(1)
}

func TestCloseOfAnIdleObject(t *testing.T) {
	h := host(t, Policy{})
	h.Close()
	h.wantDown(1)
	h.wantStopped(nil)
}

// End does not wait: what waits is rejected, what runs is answered as it returns, and the instance is shut down
// after.
func TestEndWithCallsRunning(t *testing.T) {
	h := host(t, Policy{})
	running, waiting := h.call(t.Context(), goes), h.call(t.Context(), wait)
	<-h.entered
	<-h.entered
	third := h.call(t.Context(), mark)
	why := exc.New(exc.Disconnected, "", "enough")
	h.End(why)
	<-h.Broken()
	if n := len(h.downs); n != 0 {
		t.Error("shut down while calls run")
	}
	h.let <- struct{}{}
	h.let <- struct{}{}
	wantNil(t, "running", <-running)
	wantNil(t, "waiting in its method", <-waiting)
	wantExc(t, "waiting", <-third, exc.Disconnected, "enough")
	h.wantDown(1)
	h.wantStopped(why)
}

// An object that ends while it restarts never gets another instance that lives.
func TestEndWhileRestarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, Policy{Backoff: time.Hour, MaxBackoff: time.Hour, Within: 24 * time.Hour})
		<-h.call(t.Context(), boom)
		<-h.call(t.Context(), boom)
		waiting := h.call(t.Context(), mark)
		why := exc.New(exc.Disconnected, "", "enough")
		h.End(why)
		wantExc(t, "waiting", <-waiting, exc.Disconnected, "enough")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		h.wantDowns(h.made)
		h.wantStopped(why)
	})
}

// A Shutdown that panics harms nobody.
func TestShutdownPanics(t *testing.T) {
	h := newHosted(t, Policy{}, Admission{})
	close(h.downs) // so that Shutdown panics
	h.Begin()
	<-h.call(t.Context(), boom)
	wantNil(t, "the next instance", <-h.call(t.Context(), mark))
	h.Close()
	h.wantStopped(nil)
}

// What does not fit is answered overloaded at once, what had fit is not harmed, and there is room again after.
func TestAdmission(t *testing.T) {
	tests := []struct {
		name      string
		admission Admission
		bytes     int
		want      string
	}{
		{"calls", Admission{Calls: 2}, 8, "object/x: 2 calls with 64 bytes wait: Admission allows 2 with 67108864"},
		{"bytes", Admission{Bytes: 2048}, 1000, "object/x: 2 calls with 2048 bytes wait: Admission allows 1024 with 2048"},
		{"default", Admission{Bytes: 1 << 40}, 8, "object/x: 1024 calls with 32768 bytes wait: Admission allows 1024 with 1099511627776"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := newHosted(t, Policy{}, test.admission)
			h.Begin()
			fits := 2
			if test.name == "default" {
				fits = 1024
			}
			accepted := []<-chan error{h.callWith(t.Context(), wait, test.bytes)}
			<-h.entered
			for range fits - 1 {
				accepted = append(accepted, h.callWith(t.Context(), mark, test.bytes))
			}
			wantExc(t, "one too many", <-h.callWith(t.Context(), mark, test.bytes), exc.Overloaded, test.want)
			h.let <- struct{}{}
			for _, c := range accepted {
				wantNil(t, "one that fit", <-c)
			}
			wantNil(t, "one after", <-h.callWith(t.Context(), mark, test.bytes))
			if calls, bytes := h.calls.Load(), h.bytes.Load(); calls != 0 || bytes != 0 {
				t.Errorf("%d calls and %d bytes are still counted", calls, bytes)
			}
		})
	}
}

// serving says whether a goroutine of a go-capnp server is there, in this bubble: those of other tests may still be
// ending.
func serving() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, g := range bytes.Split(stacks, []byte("\n\n")) {
		if bytes.Contains(g, []byte("synctest bubble")) && bytes.Contains(g, []byte("(*Server).handleCalls")) {
			return true
		}
	}
	return false
}

// An object has a go-capnp server, with its goroutine, from its first call until it has been idle.
func TestIdleHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, Policy{})
		synctest.Wait()
		if serving() {
			t.Error("a goroutine before the first call")
		}
		for range 3 { // it comes back
			wantNil(t, "a call", <-h.call(t.Context(), mark))
			time.Sleep(idleServer / 2)
			wantNil(t, "a call soon after", <-h.call(t.Context(), mark))
			time.Sleep(idleServer * 3 / 4)
			synctest.Wait()
			if !serving() {
				t.Error("the server was retired too early")
			}
			time.Sleep(2 * idleServer)
			synctest.Wait()
			if serving() {
				t.Error("an idle object has a goroutine")
			}
		}
		h.wantRuns(1, 1, 1, 1, 1, 1)

		// A call that takes long is not idleness.
		c := h.call(t.Context(), wait)
		<-h.entered
		time.Sleep(10 * idleServer)
		behind := h.call(t.Context(), mark)
		h.let <- struct{}{}
		wantNil(t, "a call that took long", <-c)
		wantNil(t, "a call behind it", <-behind)
	})
}
