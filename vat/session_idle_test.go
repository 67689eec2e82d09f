package vat

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// bubble runs f in fake time. What is left of it goes on for a moment: protoactor counts dead letters by the clock.
func bubble(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Second) })
		f(t)
	})
}

// resting has a vat end what rests for so long.
func resting(d time.Duration) func(*Config, *transport.Config) {
	return func(cfg *Config, _ *transport.Config) { cfg.Limits.Idle = d }
}

func (c *cluster) wantSessions(at string, n int) {
	c.t.Helper()
	synctest.Wait()
	if got := len(c.byName[at].liveSessions()); got != n {
		c.t.Errorf("%s has %d sessions, want %d", at, got, n)
	}
}

func (c *cluster) wantNote(p testapi.Probe) {
	c.t.Helper()
	if err := noteOn(c.t.Context(), p, 1, 1); err != nil {
		c.t.Errorf("%v\n%s", err, c.trees())
	}
}

// A session of which neither side holds anything ends after Limits.Idle, not before; what is held keeps it; and it
// is made anew when it is wanted.
func TestIdleSessionEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		c.start("alice", resting(time.Hour))
		c.start("bob", resting(time.Minute))
		for range 2 {
			bob := testapi.Probe(c.byName["alice"].Bootstrap(t.Context(), id("bob")))
			c.wantNote(bob)
			time.Sleep(time.Hour)
			c.wantNote(bob) // held all the while
			bob.Release()
			synctest.Wait()
			time.Sleep(time.Minute - 1)
			c.wantSessions("alice", 1)
			c.wantSessions("bob", 1)
			time.Sleep(time.Nanosecond)
			c.wantSessions("alice", 0)
			c.wantSessions("bob", 0)
			for name := range c.byName {
				if n := len(c.byName[name].leaving); n != 0 {
					t.Errorf("%s remembers %d connections", name, n)
				}
			}
		}
		if n := c.byName["bob"].Exceeded()["Idle"]; n != 2 {
			t.Errorf("counted %d times", n)
		}
	})
}

// What a vat asks while the news that its peer was at rest is under way is asked again in a new session, once: calls
// that were pipelined on it are delivered once, in order. So is what the peer asks at the same moment.
func TestIdleRace(t *testing.T) {
	for _, x := range []struct{ lower, higher string }{{"alice", "bob"}, {"bob", "alice"}} {
		for _, both := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s asks, both %v", x.lower, both), func(t *testing.T) {
				bubble(t, func(t *testing.T) { idleRace(t, x.lower, x.higher, both) })
			})
		}
	}
}

// idleRace has asker ask while the session is ending for rester, more than once.
func idleRace(t *testing.T, asker, rester string, both bool) {
	c := newCluster(t)
	c.start(asker, resting(time.Hour))
	c.start(rester, resting(time.Minute))
	for range 3 {
		c.idleRace(asker, rester, both)
	}
	c.wantSessions(asker, 1)
	c.wantSessions(rester, 1)
}

func (c *cluster) idleRace(asker, rester string, both bool) {
	t := c.t
	before := len(c.objects[rester].seen())
	p := testapi.Probe(c.byName[asker].Bootstrap(t.Context(), id(rester)))
	c.wantNote(p)
	p.Release()
	synctest.Wait()
	there, back := c.link(asker, rester), c.link(rester, asker)
	there.Hold()
	back.Hold()
	time.Sleep(time.Minute - 1)
	var ends []func() error
	ask := func(at, of string, from, n uint32) {
		p := testapi.Probe(c.byName[at].Bootstrap(t.Context(), id(of)))
		for i := range n {
			ans, release := p.Note(t.Context(), noting(from, i+1))
			ends = append(ends, func() error {
				_, err := ans.Struct()
				release()
				return err
			})
		}
		p.Release()
	}
	ask(asker, rester, 2, 3)
	time.Sleep(time.Nanosecond)
	c.wantSessions(rester, 0)
	if both {
		ask(rester, asker, 3, 1)
	}
	there.Free()
	back.Free()
	for i, end := range ends {
		if err := end(); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	notes := c.objects[rester].seen()[before:]
	if len(notes) != 4 {
		t.Fatalf("%d notes, want 4: %v", len(notes), notes)
	}
	for i := range notes[1:] {
		if notes[i+1] != (note{2, uint32(i + 1)}) {
			t.Errorf("out of order: %v", notes)
		}
	}
}

// What is asked of a session that ends for lack of use before the question is posted goes to a new one.
func TestAskWhileSessionRetires(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	c.ready("alice", "bob").Release()
	alice := c.byName["alice"]
	c.settle()
	s := c.session("alice", "bob")
	asked := 0
	got, err := alice.ask(id("bob"), nil, func(to *session) error {
		if asked++; asked == 1 {
			to.inspect(func(s *session) {
				a := s.host.(*sessionActor)
				a.idled(&rested{a.rest})
			})
		}
		if to.post(&echo{func() {}}) {
			return nil
		}
		return to.why()
	})
	if err != nil || got == s || asked != 2 {
		t.Errorf("asked %d times, of the same session: %v, %v", asked, got == s, err)
	}
	got.run()
	c.wantNote(c.bootstrap("alice", "bob"))
}
