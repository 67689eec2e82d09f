package vat

import (
	"context"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A tailor answers by tail calls to what it was made with.
type tailor struct {
	*probe
	to testapi.Probe
}

// Shutdown implements server.Shutdowner.
func (t tailor) Shutdown() { t.to.Release() }

func (t tailor) Kept(ctx context.Context, c testapi.Probe_kept) error {
	return TailCall(ctx, c, t.to, testapi.Probe.Kept, nil)
}

func (t tailor) Echo(ctx context.Context, c testapi.Probe_echo) error {
	return TailCall(ctx, c, t.to, testapi.Probe.Echo, func(p testapi.Probe_echo_Params) error {
		data, err := c.Args().Data()
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return exc.New(exc.Failed, "", "nothing to echo")
		}
		return p.SetData(data)
	})
}

func (t tailor) Note(ctx context.Context, c testapi.Probe_note) error {
	return TailCall(ctx, c, t.to, testapi.Probe.Note, noting(c.Args().From(), c.Args().N()))
}

func (t tailor) Wait(ctx context.Context, c testapi.Probe_wait) error {
	return TailCall(ctx, c, t.to, testapi.Probe.Wait, nil)
}

// tailors is an object of v's that tail-calls one that tail-calls to, which it takes over. The one in the middle is of
// go-capnp alone where plain says so.
func tailors(t *testing.T, v *Vat, to testapi.Probe, plain bool) testapi.Probe {
	t.Helper()
	for i := range 2 {
		next := to
		if plain && i == 0 {
			to = testapi.Probe_ServerToClient(tailor{nil, next})
			continue
		}
		c, err := Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return tailor{nil, next} })
		check(err)
		to = c
	}
	return to
}

// By local callers, and by peers, through two tail calls: results, parameters that cannot be had, cancellation.
func TestTailCalls(t *testing.T) {
	for name, plain := range map[string]bool{"supervised": false, "one of them of go-capnp": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			end, client := newProbe("end")
			check(keepOn(context.Background(), client, client))
			first := tailors(t, c.byName["bob"], client.AddRef(), plain)
			check(keepOn(context.Background(), c.locals["bob"], first))
			boot := c.bootstrap("alice", "bob")
			ans, release := boot.Kept(context.Background(), nil)
			got, err := ans.Struct()
			check(err)
			remote := got.Probe().AddRef()
			release()
			for _, p := range []testapi.Probe{first, remote} {
				if got, err := echoOn(context.Background(), p, []byte("tail")); err != nil || string(got) != "tail" {
					t.Fatalf("got %q, %v", got, err)
				}
				_, err = echoOn(context.Background(), p, nil)
				wantError(t, err, exc.Failed, "nothing to echo")
				ans, release := p.Kept(context.Background(), nil)
				check(noteOn(context.Background(), ans.Probe(), 1, uint32(len(end.seen())+1)))
				release()
				ctx, cancel := context.WithCancel(context.Background())
				_, release = p.Wait(ctx, nil)
				arrives(t, "the call of wait", end.entered)
				cancel()
				if err := arrives(t, "its end", end.left); err == nil {
					t.Fatal("wait was not canceled")
				}
				release()
			}
			end.wantOrder(t, 1, 2)
			check(keepOn(context.Background(), client, testapi.Probe{}))
			check(keepOn(context.Background(), boot, testapi.Probe{}))
			for _, p := range []testapi.Probe{remote, boot, first, client} {
				p.Release()
			}
			arrives(t, "the end of the object", end.down)
		})
	}
}

// Bob returns a call of alice's early, and has carol keep its results for her. Carol answers it by a tail call: the results
// are still hers to keep.
func TestTailCallWithKeptResults(t *testing.T) {
	c := newCluster(t)
	c.start("alice", nil)
	c.start("bob", earlyProbes)
	c.start("carol", nil)
	c.start("dave", nil)
	p, resolver := c.promiseAt("bob")
	p.Release()
	end, held := newProbe("end")
	c.keep("dave", held)
	held.Release()
	first, err := Spawn[testapi.Probe](c.byName["carol"], testapi.Probe_Methods, func() testapi.Probe_Server {
		return tailor{nil, c.ready("carol", "dave")}
	})
	check(err)
	c.keep("carol", first)
	first.Release()
	kept, releaseKept := c.ready("alice", "bob").Kept(t.Context(), nil)
	wait, releaseWait := kept.Probe().Wait(t.Context(), nil)
	early, err := wait.Struct()
	check(err)
	tails, releaseTails := c.ready("bob", "carol").Kept(t.Context(), nil)
	got, err := tails.Struct()
	check(err)
	resolver.Fulfill(got.Probe().AddRef())
	arrives(t, "wait at dave", c.objects["dave"].entered)
	c.objects["dave"].let <- struct{}{}
	check(noteOn(t.Context(), early.Probe(), 1, 1))
	end.wantOrder(t, 1, 1)
	if n := c.count(message{"bob", false, "dave", rpc.Message_Which_thirdPartyAnswer}); n > 0 {
		t.Errorf("bob was sent %d answers of dave's, and awaits none", n)
	}
	releaseTails()
	releaseWait()
	releaseKept()
}

// The target is a promise of go-capnp's own, that resolves between two calls.
func TestTailCallsOnForeignPromise(t *testing.T) {
	bubble(t, func(t *testing.T) {
		v := newCluster(t, "solo").byName["solo"]
		end, client := newProbe("end")
		to, resolver := capnp.NewLocalPromise[testapi.Probe]()
		first, err := Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return tailor{nil, to} })
		check(err)
		one, release := first.Note(context.Background(), noting(1, 1))
		synctest.Wait()
		resolver.Fulfill(client)
		check(noteOn(context.Background(), first, 1, 2))
		_, err = one.Struct()
		check(err)
		end.wantOrder(t, 1, 2)
		release()
		first.Release()
		arrives(t, "the end of the object", end.down)
	})
}

// A method that was called by go-capnp alone, with the context of a method that a vat has called, does not take that
// one's call for its own.
func TestTailCallWithAnothersContext(t *testing.T) {
	v := newCluster(t, "solo").byName["solo"]
	end, client := newProbe("end")
	check(keepOn(context.Background(), client, client))
	inner := testapi.Probe_ServerToClient(tailor{nil, client.AddRef()})
	c, err := Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return caller{tailor{nil, inner}} })
	check(err)
	ans, release := c.Kept(context.Background(), nil)
	check(noteOn(context.Background(), ans.Probe(), 1, 1))
	if n := len(end.seen()); n != 1 {
		t.Errorf("%d notes", n)
	}
	release()
	c.Release()
	check(keepOn(context.Background(), client, testapi.Probe{}))
	client.Release()
	arrives(t, "the end of the object", end.down)
}

// A caller answers kept by a call of its own, with its own context, before it has allocated its results.
type caller struct{ tailor }

func (c caller) Kept(ctx context.Context, call testapi.Probe_kept) error {
	ans, release := c.to.Kept(ctx, nil)
	defer release()
	got, err := ans.Struct()
	if err != nil {
		return err
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return res.SetProbe(got.Probe().AddRef())
}
