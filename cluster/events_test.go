package cluster

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// listener is a node without gossip, whose callbacks write down what they hear.
func listener(cfg Config) *Node {
	cfg.Logger = quiet
	return newNode(&cfg, newPerson("alice").says("alice", loopback, 1), time.Now())
}

func says(id transport.VatID, state State) event {
	return event{change: change{id: id, state: state}, reason: "why"}
}

func TestEventsKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		n := listener(Config{
			OnJoin:   func(id transport.VatID) { heard = append(heard, "join "+string(id)) },
			OnLeave:  func(id transport.VatID) { heard = append(heard, "leave "+string(id)) },
			OnFailed: func(id transport.VatID, reason string) { heard = append(heard, "failed "+string(id)+" "+reason) },
		})
		for _, e := range []event{says("b", Alive), says("b", Failed), says("c", Alive), says("b", Alive), says("b", Failed), says("c", Left)} {
			n.post(e)
		}
		n.tasks.Go(n.dispatch)
		synctest.Wait()
		want := []string{"join b", "failed b why", "join c", "join b", "failed b why", "leave c"}
		if !slices.Equal(heard, want) {
			t.Errorf("got %q, want %q", heard, want)
		}
		n.stop()
	})
}

func TestEventsWithoutCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := listener(Config{})
		n.tasks.Go(n.dispatch)
		for _, state := range []State{Alive, Failed, Left} {
			n.post(says("b", state))
		}
		synctest.Wait()
		if len(n.events) != 0 {
			t.Errorf("%d events left", len(n.events))
		}
		n.stop()
	})
}

// TestStop: it waits for the callback under way, and none comes after.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, stopped, calls := make(chan struct{}), false, 0
		n := listener(Config{OnJoin: func(transport.VatID) {
			calls++
			<-release
		}})
		n.tasks.Go(n.dispatch)
		n.post(says("b", Alive))
		n.post(says("c", Alive))
		synctest.Wait()
		go func() {
			n.stop()
			stopped = true
		}()
		synctest.Wait()
		if stopped {
			t.Error("did not wait for the callback")
		}
		close(release)
		synctest.Wait()
		if !stopped || calls != 1 {
			t.Errorf("stopped: %v, callbacks: %d, want true, 1", stopped, calls)
		}
	})
}

// TestEventsAreBounded: beyond the bound the gossip waits, and closing sets it free.
func TestEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := listener(Config{})
		posted := 0
		go func() {
			for range maxEvents + 1 {
				n.post(says("b", Alive))
				posted++
			}
		}()
		synctest.Wait()
		if posted != maxEvents {
			t.Errorf("posted %d, want %d", posted, maxEvents)
		}
		n.stop()
		synctest.Wait()
		if posted != maxEvents+1 {
			t.Errorf("posted %d after stop, want %d", posted, maxEvents+1)
		}
	})
}
