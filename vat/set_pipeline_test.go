package vat

import (
	"context"
	"errors"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A piper sets the results of wait early, to what it was made with, and fails in the end where it was told to.
type piper struct {
	*probe
	to  testapi.Probe
	why error
}

// Shutdown implements server.Shutdowner.
func (p piper) Shutdown() { p.to.Release() }

func (p piper) Wait(ctx context.Context, c testapi.Probe_wait) error {
	results, err := c.AllocResults()
	if err != nil {
		return err
	}
	if err := results.SetProbe(p.to.AddRef()); err != nil {
		return err
	}
	if err := SetPipeline(ctx, results); err != nil {
		return err
	}
	if err := SetPipeline(ctx, results); err == nil {
		return errors.New("it can be set twice")
	}
	c.Go()
	select {
	case <-p.let:
		return p.why
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Many sets one of its results early, and another only in the end.
func (p piper) Many(ctx context.Context, c testapi.Probe_many) error {
	results, err := c.AllocResults()
	if err != nil {
		return err
	}
	nested, err := results.NewNested()
	if err != nil {
		return err
	}
	list, err := results.NewProbes(1)
	if err != nil {
		return err
	}
	if err := list.Set(0, p.to.AddRef()); err != nil {
		return err
	}
	if err := SetPipeline(ctx, results); err != nil {
		return err
	}
	c.Go()
	<-p.let
	return nested.SetProbe(p.to.AddRef())
}

// With a server of go-capnp and with an object of the vat's, called by local code and by a peer: what is pipelined runs
// while the method does, also where it was passed on, and what the results are called when they are here comes after it.
func TestSetPipeline(t *testing.T) {
	for name, serve := range map[string]func(*Vat, piper) testapi.Probe{
		"go-capnp": func(_ *Vat, p piper) testapi.Probe { return testapi.Probe_ServerToClient(p) },
		"spawned": func(v *Vat, p piper) testapi.Probe {
			return must(Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return p }))
		},
	} {
		for _, at := range []string{"bob", "alice"} {
			if name == "go-capnp" && at == "bob" {
				continue // by way of no vat
			}
			t.Run(name+" called by "+at, func(t *testing.T) {
				c := newCluster(t, "alice", "bob", "carol")
				mine, to := newProbe("mine")
				let, server := newProbe("server")
				defer server.Release()
				local := serve(c.byName["bob"], piper{let, to, nil})
				failing := serve(c.byName["bob"], piper{let, to.AddRef(), errors.New("on purpose")})
				p, f := local, failing
				if at == "alice" {
					p, f = c.passOn("bob", local), c.passOn("bob", failing)
				}
				ans, release := p.Wait(t.Context(), nil)
				part := ans.Probe()
				check(noteOn(t.Context(), part, 1, 1))
				carol := c.ready(at, "carol")
				check(keepOn(t.Context(), carol, part)) // a part of results that are not here
				if at == "bob" {                        // where the results are set, it is known already
					kept, releaseKept := carol.Kept(t.Context(), nil)
					check(noteOn(t.Context(), kept.Probe(), 1, 2))
					releaseKept()
				} else {
					check(noteOn(t.Context(), part, 1, 2))
				}
				check(keepOn(t.Context(), carol, testapi.Probe{}))
				let.let <- struct{}{}
				got := must(ans.Struct())
				check(noteOn(t.Context(), got.Probe(), 1, 3))
				release()

				many, release := p.Many(t.Context(), nil)
				later, releaseLater := many.Nested().Probe().Note(t.Context(), noting(1, 4))
				let.let <- struct{}{}
				_, err := later.Struct()
				check(err)
				releaseLater()
				release()

				ans, release = f.Wait(t.Context(), nil)
				check(noteOn(t.Context(), ans.Probe(), 1, 5))
				let.let <- struct{}{}
				_, err = ans.Struct()
				wantSomeError(t, err)
				release()
				mine.wantOrder(t, 1, 5)
				p.Release()
				f.Release()
				arrives(t, "the end of what was piped", mine.down)
			})
		}
	}
}

// passOn is a reference at alice to something at a vat, whose own it takes over.
func (c *cluster) passOn(from string, x testapi.Probe) testapi.Probe {
	c.t.Helper()
	check(keepOn(c.t.Context(), c.locals[from], x))
	x.Release()
	boot := c.bootstrap("alice", from)
	kept, release := boot.Kept(c.t.Context(), nil)
	defer release()
	got := must(kept.Struct()).Probe().AddRef()
	check(keepOn(c.t.Context(), c.locals[from], testapi.Probe{}))
	return got
}

// In a method that no vat has called there is nothing to set.
func TestSetPipelineWithoutVat(t *testing.T) {
	mine, to := newProbe("mine")
	let, server := newProbe("server")
	defer server.Release()
	p := testapi.Probe_ServerToClient(piperAlone{piper{let, to, nil}})
	ans, release := p.Kept(t.Context(), nil)
	check(noteOn(t.Context(), ans.Probe(), 1, 1))
	release()
	p.Release()
	arrives(t, "the end", mine.down)
}

type piperAlone struct{ piper }

func (p piperAlone) Kept(ctx context.Context, c testapi.Probe_kept) error {
	results, err := c.AllocResults()
	if err != nil {
		return err
	}
	if err := results.SetProbe(p.to.AddRef()); err != nil {
		return err
	}
	return SetPipeline(ctx, results)
}

// What is pipelined on what was set early goes on, in order; the rest waits; and nothing is set twice, or too late.
func TestEarlyPipeline(t *testing.T) {
	v := newCluster(t, "alice").byName["alice"]
	_, seg := capnp.NewSingleSegmentMessage(nil)
	root := must(capnp.NewRootStruct(seg, capnp.ObjectSize{PointerCount: 2}))
	check(root.SetPtr(0, capnp.NewInterface(seg, seg.Message().CapTable().Add(capnp.Client{})).ToPtr()))
	road := &recordedRoad{}
	path := func(f uint16) []capnp.PipelineOp { return []capnp.PipelineOp{{Field: f}} }
	var p pipeline
	p.add(pipelined{path: path(0), parcel: &echoed{1}})
	p.add(pipelined{path: path(1), parcel: &echoed{2}})
	out, ok := p.setEarly(&early{result: result{content: root.ToPtr()}, pins: []pin{{road: road}}})
	if !ok || len(out) != 1 || len(p.queue) != 1 {
		t.Fatalf("%v: %d go on, %d wait", ok, len(out), len(p.queue))
	}
	if _, now := p.add(pipelined{path: path(0), parcel: &echoed{3}}); !now {
		t.Error("what comes after it waits")
	}
	if _, ok := p.setEarly(&early{}); ok {
		t.Error("set twice")
	}
	if out := p.settle(&result{err: errCanceled}, nil); len(out) != 1 {
		t.Errorf("%d wait for the results, want 1", len(out))
	}
	p.endEarly(v)
	if _, ok := p.setEarly(&early{}); ok {
		t.Error("set when all is over")
	}
}

type echoed struct{ n int }

func (*echoed) reject(error) {}

type recordedRoad struct{}

func (*recordedRoad) put(parcel) {}
func (*recordedRoad) wake()      {}
func (*recordedRoad) run()       {}
