package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLobby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{MaxHandshakes: 2, HandshakeTimeout: 10 * time.Second}.withDefaults()
		l := newLobby(limits)
		start := time.Now()
		shownOut := make(chan string, 8)
		enter := func(name string) *guest {
			return l.enter(t.Context(), func() { shownOut <- name })
		}
		a, b := enter("a"), enter("b")

		// Full: the next one waits for somebody to leave.
		go func() {
			time.Sleep(100 * time.Millisecond)
			l.leave(a)
		}()
		c := enter("c")
		if waited := time.Since(start); waited != 100*time.Millisecond || len(shownOut) > 0 {
			t.Errorf("c waited %v, %d were shown out; want until a left, and none", waited, len(shownOut))
		}

		// Nobody leaves: the oldest must go, once it has had its second.
		d := enter("d")
		if waited := time.Since(start); waited != time.Second || <-shownOut != "b" {
			t.Errorf("d waited until %v, want until b had stayed for a second", waited)
		}
		l.leave(b) // as it does when its handshake ends
		if len(l.guests) != 2 || l.guests[0] != c || l.guests[1] != d {
			t.Errorf("%d guests", len(l.guests))
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if g := l.enter(ctx, func() {}); g != nil {
			// A place given back since the last look may be noticed first; a full lobby still lets nobody in.
			t.Error("entered a closed network's full lobby")
		}
	})
}
