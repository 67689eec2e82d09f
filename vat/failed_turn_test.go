package vat

import (
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
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

// What was in a message that is not sent after all is let go of, whether it was copied into that or not.
func TestFailedTurnLetsGoOfWhatItSends(t *testing.T) {
	for name, prepared := range map[string]bool{"as it is": true, "copied": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			mine, client := newProbe("mine")
			i, _ := c.byName["alice"].importOf(capnp.Client(c.ready("alice", "bob")))
			call, answer, err := c.byName["alice"].newLocalCall(t.Context(), capnp.Send{
				Method:    capnp.Method{InterfaceID: testapi.Probe_TypeID, MethodID: 3},
				ArgsSize:  capnp.ObjectSize{PointerCount: 1},
				PlaceArgs: func(s capnp.Struct) error { return testapi.Probe_keep_Params(s).SetProbe(client) },
			}, i)
			check(err)
			call.prepared = prepared
			c.session("alice", "bob").inspect(func(s *session) {
				s.putImport(i, call)
				panic("on purpose")
			})
			_, err = answer.promise.Answer().Struct()
			wantError(t, err, exc.Disconnected, "")
			answer.release()
			arrives(t, "the end of the object", mine.down)
		})
	}
}
