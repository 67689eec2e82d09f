package vat

import (
	"context"
	"errors"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

func TestCanceledBeforeTheCall(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := noteOn(ctx, bob, 1, 1); err == nil {
		t.Errorf("a call whose context had ended succeeded")
	}
	if err := noteOn(t.Context(), bob, 1, 2); err != nil {
		t.Fatal(err)
	}
	if got := c.objects["bob"].seen(); len(got) != 1 {
		t.Errorf("bob noted %v", got)
	}
}

// A call that is canceled while it waits for a session, or in a mailbox, is never made.
func TestCanceledWhileItWaits(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	p, resolver := NewPromise[testapi.Probe](c.byName["alice"])
	defer p.Release()
	ctx, cancel := context.WithCancel(t.Context())
	ans, release := p.Note(ctx, noting(1, 1))
	defer release()
	cancel()
	resolver.Fulfill(c.ready("alice", "bob").AddRef())
	if _, err := ans.Struct(); err == nil {
		t.Errorf("a call that was canceled while it waited succeeded")
	}
	if got := c.objects["bob"].seen(); len(got) != 0 {
		t.Errorf("bob noted %v", got)
	}
}

// The context of a call reaches the object, and its caller need not wait for that.
func TestCanceledDuringTheCall(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	ctx, cancel := context.WithCancel(t.Context())
	ans, release := bob.Wait(ctx, nil)
	defer release()
	arrives(t, "the call", c.objects["bob"].entered)
	cancel()
	if _, err := ans.Struct(); err == nil {
		t.Errorf("a canceled call succeeded")
	}
	if err := arrives(t, "the end of the call", c.objects["bob"].left); !errors.Is(err, context.Canceled) {
		t.Errorf("the object's call ended with %v", err)
	}
}

// A caller whose link is stuck is let go at once all the same.
func TestCanceledWithTheLinkHeld(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	c.link("alice", "bob").Hold()
	ctx, cancel := context.WithCancel(t.Context())
	ans, release := bob.Wait(ctx, nil)
	cancel()
	if _, err := ans.Struct(); err == nil {
		t.Errorf("a canceled call succeeded")
	}
	release()
	c.link("alice", "bob").Free()
}

// The cause of a context is what its caller sees.
func TestDeadline(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	ans, release := bob.Wait(ctx, nil)
	defer release()
	if _, err := ans.Struct(); err == nil {
		t.Errorf("a call beyond its deadline succeeded")
	}
}

// Releasing the answer before the return cancels.
func TestReleaseCancels(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	_, release := bob.Wait(t.Context(), nil)
	arrives(t, "the call", c.objects["bob"].entered)
	release()
	release()
	if err := arrives(t, "the end of the call", c.objects["bob"].left); !errors.Is(err, context.Canceled) {
		t.Errorf("the object's call ended with %v", err)
	}
}

// Releasing the answer cancels nothing while a call is pipelined on it.
func TestReleaseKeepsWhatIsPipelinedOn(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	mine, client := newProbe("mine")
	defer client.Release()
	if err := keepOn(t.Context(), bob, client); err != nil {
		t.Fatal(err)
	}
	ans, release := bob.Wait(t.Context(), nil)
	note, releaseNote := ans.Probe().Note(t.Context(), noting(1, 1))
	defer releaseNote()
	arrives(t, "the call", c.objects["bob"].entered)
	release()
	c.objects["bob"].let <- struct{}{}
	if _, err := note.Struct(); err != nil {
		t.Errorf("a pipelined call: %v", err)
	}
	if len(mine.seen()) != 1 {
		t.Errorf("mine noted %v", mine.seen())
	}
	if err := keepOn(t.Context(), bob, testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}

// When the last call pipelined on a released answer is given up, the answer's call is canceled too.
func TestReleaseOfWhatIsPipelinedCancels(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	ans, release := bob.Wait(t.Context(), nil)
	_, releaseNote := ans.Probe().Note(t.Context(), noting(1, 1))
	arrives(t, "the call", c.objects["bob"].entered)
	release()
	releaseNote()
	if err := arrives(t, "the end of the call", c.objects["bob"].left); !errors.Is(err, context.Canceled) {
		t.Errorf("the object's call ended with %v", err)
	}
}

// A call is canceled through a vat that has it from another.
func TestCancelThroughAVat(t *testing.T) {
	c := newCluster(t, "alice", "bob", "carol")
	bob := c.ready("alice", "bob")
	p, resolver := NewPromise[testapi.Probe](c.byName["bob"])
	if err := keepOn(t.Context(), c.locals["bob"], p); err != nil {
		t.Fatal(err)
	}
	p.Release()
	kept, releaseKept := bob.Kept(t.Context(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ans, release := kept.Probe().Wait(ctx, nil)
	eventually(t, saying("the call waits at bob"), func() bool {
		n := c.byName["bob"].Tree().find("promise")
		return n != nil && n.Waiting == 1
	})
	resolver.Fulfill(c.bootstrap("bob", "carol").AddRef())
	arrives(t, "the call", c.objects["carol"].entered)
	cancel()
	if _, err := ans.Struct(); err == nil {
		t.Errorf("a canceled call succeeded")
	}
	if err := arrives(t, "the end of the call", c.objects["carol"].left); !errors.Is(err, context.Canceled) {
		t.Errorf("the object's call ended with %v", err)
	}
	release()
	releaseKept()
	if err := keepOn(t.Context(), bob, testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}

// The parameters of a call that was never delivered are released.
func TestParametersOfAFailedCall(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	mine, client := newProbe("mine")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantSomeError(t, keepOn(ctx, bob, client))

	placing := errors.New("arguments cannot be placed")
	ans, release := bob.Keep(t.Context(), func(p testapi.Probe_keep_Params) error {
		if err := p.SetProbe(client.AddRef()); err != nil {
			return err
		}
		return placing
	})
	if _, err := ans.Struct(); err == nil || !contains(err.Error(), placing.Error()) {
		t.Errorf("got %v, want %v", err, placing)
	}
	release()

	broken := testapi.Probe(capnp.ErrorClient(exc.New(exc.Overloaded, "", "broken from the start")))
	wantError(t, noteOn(t.Context(), broken, 1, 1), exc.Overloaded, "broken from the start")
	client.Release()
	arrives(t, "the shutdown of mine", mine.down)
}

func wantSomeError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
}

// A peer may finish a call before those that it has pipelined on it: with the last of them the call is canceled.
func TestCanceledFromTheFront(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	c.dirty = true // what alice holds is told from bob's side
	wait, release := c.ready("alice", "bob").Wait(t.Context(), nil)
	defer release()
	p := wait.Probe()
	_, releaseNote := p.Note(t.Context(), noting(1, 1))
	defer releaseNote()
	arrives(t, "the call", c.objects["bob"].entered)
	s := c.session("bob", "alice")
	calls := func() (ids []uint32) {
		s.inspect(func(s *session) { s.answers.sorted(func(id uint32, a *answer) { ids = append(ids, id) }) })
		return ids
	}
	eventually(t, saying("both calls"), func() bool { return len(calls()) == 2 })
	for _, id := range calls() {
		s.inspect(func(s *session) {
			if err := s.onFinish(must(msgFinish(id).Finish())); err != nil {
				t.Error(err)
			}
		})
	}
	if err := arrives(t, "the end of the call", c.objects["bob"].left); err == nil {
		t.Error("the call was not canceled")
	}
}

// A call that waits on a promise, which may never resolve, fails when its caller gives up: local code here, and a peer.
func TestCanceledOnAPromise(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	p, resolver := c.promiseAt("bob")
	kept, release := c.ready("alice", "bob").Kept(t.Context(), nil)
	res, err := kept.Struct()
	if err != nil {
		t.Fatal(err)
	}
	for name, caller := range map[string]testapi.Probe{"bob": p, "alice": res.Probe()} {
		ctx, cancel := context.WithCancel(t.Context())
		ans, done := caller.Note(ctx, noting(1, 1))
		cancel()
		arrives(t, "the answer to "+name, ans.Done())
		if _, err := ans.Struct(); err == nil {
			t.Errorf("the call of %s, who gave up, has succeeded", name)
		}
		done()
	}
	eventually(t, saying("an end of alice's call at bob's"), func() bool { return c.byName["bob"].Tables().Answers == 1 }) // kept
	release()
	p.Release()
	resolver.Fulfill(testapi.Probe{})
	if err := keepOn(t.Context(), c.locals["bob"], testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}
