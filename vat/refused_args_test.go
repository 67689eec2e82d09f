package vat

import (
	"context"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A parting is a hook of a user's own that calls something when it is let go of.
type parting struct {
	to   testapi.Probe
	done chan struct{}
}

func (p *parting) Send(_ context.Context, s capnp.Send) (*capnp.Answer, capnp.ReleaseFunc) {
	return capnp.ErrorAnswer(s.Method, failed("not to be called")), func() {}
}

func (p *parting) Recv(_ context.Context, r capnp.Recv) capnp.PipelineCaller {
	r.Reject(failed("not to be called"))
	return nil
}

func (p *parting) Brand() capnp.Brand { return capnp.Brand{Value: p} }
func (p *parting) String() string     { return "parting" }

// Shutdown implements capnp.ClientHook.
func (p *parting) Shutdown() {
	_, release := p.to.Note(context.Background(), noting(1, 1))
	release()
	close(p.done)
}

// An object that refuses a call lets go of its parameters while no lock of ours is held: whoever is let go of by that may
// use the very reference that was called.
func TestRefusedArgumentsAreLetGoOfOutsideOurLocks(t *testing.T) {
	for name, serve := range map[string]func(*cluster) testapi.Probe{
		"go-capnp": func(c *cluster) testapi.Probe {
			p, resolver := NewPromise[testapi.Probe](c.byName["alice"])
			_, client := newProbe("x")
			resolver.Fulfill(client)
			return p
		},
		"spawned": func(c *cluster) testapi.Probe {
			x := &probe{name: "x", down: make(chan struct{})}
			return must(Spawn[testapi.Probe](c.byName["alice"], testapi.Probe_Methods, func() testapi.Probe_Server { return x }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice")
			p := serve(c)
			defer p.Release()
			// By a reference that holds calls back for a moment, and then hands them on under its lock.
			held, resolver := NewPromise[testapi.Probe](c.byName["alice"])
			last := &parting{held, make(chan struct{})}
			ans, release := capnp.Client(held).SendCall(t.Context(), capnp.Send{
				Method:   capnp.Method{InterfaceID: testapi.Probe_TypeID, MethodID: 99},
				ArgsSize: capnp.ObjectSize{PointerCount: 1},
				PlaceArgs: func(s capnp.Struct) error {
					id := s.Message().CapTable().Add(capnp.NewClient(last))
					return s.SetPtr(0, capnp.NewInterface(s.Segment(), id).ToPtr())
				},
			})
			resolved := make(chan struct{})
			go func() { resolver.Fulfill(p.AddRef()); close(resolved) }()
			arrives(t, "the end of the promise", resolved)
			if _, err := ans.Struct(); !capnp.IsUnimplemented(err) {
				t.Errorf("got %v", err)
			}
			release()
			arrives(t, "the last call of who was let go of", last.done)
			held.Release()
		})
	}
}
