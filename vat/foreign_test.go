package vat

import (
	"context"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A stubborn is a hook of a user's own, and a Returner, that blocks when it is let go of, and when it returns.
type stubborn struct {
	entered, let chan struct{}
}

func (s *stubborn) block() {
	close(s.entered)
	<-s.let
}

func (s *stubborn) Send(_ context.Context, c capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	return capnp.ErrorAnswer(c.Method, failed("not to be called")), func() {}
}

func (s *stubborn) Recv(_ context.Context, r capnp.Recv) capnp.PipelineCaller {
	r.Reject(failed("not to be called"))
	return nil
}

func (s *stubborn) Brand() capnp.Brand { return capnp.Brand{Value: s} }
func (s *stubborn) String() string     { return "stubborn" }
func (s *stubborn) Shutdown()          { s.block() }

func (s *stubborn) AllocResults(sz capnp.ObjectSize) (capnp.Struct, error) {
	_, seg := capnp.NewSingleSegmentMessage(nil)
	return capnp.NewRootStruct(seg, sz)
}
func (s *stubborn) PrepareReturn(error) {}
func (s *stubborn) Return()             { s.block() }
func (s *stubborn) ReleaseResults()     {}

// A user's code that blocks where it is let go of, or takes a result, holds up no session and no other result.
func TestBlockedHookHoldsUpNobody(t *testing.T) {
	give := func(ctx context.Context, bob testapi.Probe, s *stubborn) {
		_, release := bob.Keep(ctx, func(p testapi.Probe_keep_Params) error { return p.SetProbe(testapi.Probe(capnp.NewClient(s))) })
		release()
	}
	for name, bring := range map[string]func(*cluster, testapi.Probe, *stubborn){
		"in parameters of a call that is not made": func(c *cluster, bob testapi.Probe, s *stubborn) {
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			give(canceled, bob, s)
		},
		"that a peer lets go of": func(c *cluster, bob testapi.Probe, s *stubborn) {
			mine := testapi.Probe(capnp.NewClient(s))
			check(keepOn(t.Context(), bob, mine))
			mine.Release()
			c.objects["bob"].letGo()
		},
		"in the results of a call that its caller let go of": func(c *cluster, bob testapi.Probe, s *stubborn) {
			mine := testapi.Probe(capnp.NewClient(s))
			check(keepOn(t.Context(), c.locals["alice"], mine))
			mine.Release()
			kept, release := c.bootstrap("bob", "alice").Kept(t.Context(), nil)
			_, err := kept.Struct()
			check(err)
			c.objects["alice"].letGo()
			release()
		},
		"that returns": func(c *cluster, bob testapi.Probe, s *stubborn) {
			capnp.Client(bob).RecvCall(t.Context(), capnp.Recv{
				Method:      capnp.Method{InterfaceID: testapi.Probe_TypeID, MethodID: 99},
				ReleaseArgs: func() {},
				Returner:    s,
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob", "carol")
			bob, carol := c.ready("alice", "bob"), c.ready("alice", "carol")
			s := &stubborn{make(chan struct{}), make(chan struct{})}
			defer close(s.let)
			bring(c, bob, s)
			arrives(t, "the hook", s.entered)
			for _, p := range []testapi.Probe{bob, carol} {
				done := make(chan error, 1)
				go func() { done <- noteOn(context.Background(), p, 1, 1) }()
				if err := arrives(t, "a call", done); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
