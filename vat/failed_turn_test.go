package vat

import (
	"testing"

	"capnproto.org/go/capnp/v3/exc"
)

// brokenHost has no cells to give; those that were there before are used again.
type brokenHost struct{}

func (brokenHost) cell(string, uint32, any) cell { panic("on purpose") }

// A call whose own turn fails is answered, with the end of the session.
func TestCallOfAFailedTurnIsAnswered(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	c.session("alice", "bob").inspect(func(s *session) { s.questions.host, s.questions.low = brokenHost{}, nil })
	wantError(t, noteOn(t.Context(), bob, 1, 1), exc.Disconnected, "")
	if err := noteOn(t.Context(), c.ready("alice", "bob"), 1, 1); err != nil {
		t.Errorf("in a new session: %v", err)
	}
}

// What a turn has let go of before it failed is let go of: the peer would else have an object live for ever.
func TestFailedTurnLetsGo(t *testing.T) {
	for name, fail := range map[string]func(*session){
		"by a mistake of ours": func(*session) { panic("on purpose") },
		"in its effects":       func(s *session) { s.emit(do(func() { panic("on purpose") })) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			mine, client := newProbe("mine")
			check(keepOn(t.Context(), c.ready("alice", "bob"), client))
			client.Release()
			s := c.session("alice", "bob")
			s.inspect(func(s *session) {
				last := false
				s.exports.sorted(func(id uint32, e *export) {
					if !last {
						last = true
						check(s.releaseExport(id, e.refs))
					}
				})
				fail(s)
			})
			arrives(t, "the end of the object", mine.down)
			<-s.done
			check(keepOn(t.Context(), c.locals["bob"], c.locals["alice"]))
			c.objects["bob"].letGo()
		})
	}
}
