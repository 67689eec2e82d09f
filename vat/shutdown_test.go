package vat

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// shuttingDown begins Shutdown and gives what comes of it.
func (c *cluster) shuttingDown(ctx context.Context, at string) <-chan error {
	over := make(chan error, 1)
	go func() { over <- c.byName[at].Shutdown(ctx) }()
	synctest.Wait()
	return over
}

func pending(t *testing.T, over <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-over:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
}

// A vat that shuts down answers what is in flight first, both ways, and what waits behind it; what comes later is told.
func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob", "carol")
		there, back, carol := c.ready("alice", "bob"), c.ready("bob", "alice"), c.ready("bob", "carol")
		watching, stopWatching := context.WithCancel(t.Context())
		defer stopWatching()
		watched := c.byName["alice"].Watch(watching, capnp.Client(there))
		in, release := there.Wait(t.Context(), nil)
		defer release()
		behind, release := in.Probe().Note(t.Context(), noting(1, 1)) // waits in bob
		defer release()
		out, release := back.Wait(t.Context(), nil)
		defer release()
		toCarol, release := carol.Wait(t.Context(), nil)
		defer release()
		synctest.Wait()

		over := c.shuttingDown(t.Context(), "bob")
		pending(t, over)
		wantError(t, noteOn(t.Context(), there, 2, 1), exc.Disconnected, "shutting down")
		anew := c.bootstrap("bob", "carol")
		wantError(t, noteOn(t.Context(), anew, 2, 1), exc.Disconnected, "shutting down")
		if err := noteOn(t.Context(), carol, 3, 1); err != nil {
			t.Errorf("on what it holds: %v", err)
		}
		c.start("dave", nil)
		wantError(t, noteOn(t.Context(), c.bootstrap("dave", "bob"), 2, 1), exc.Disconnected, "shutting down")

		c.keep("bob", c.locals["alice"])
		c.objects["bob"].let <- struct{}{}
		for name, end := range map[string]func() error{
			"in":     func() error { _, err := in.Struct(); return err },
			"behind": func() error { _, err := behind.Struct(); return err },
		} {
			if err := end(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		pending(t, over)
		c.objects["carol"].let <- struct{}{}
		if _, err := toCarol.Struct(); err != nil {
			t.Error(err)
		}
		pending(t, over)
		c.objects["alice"].let <- struct{}{}
		if _, err := out.Struct(); err != nil {
			t.Error(err)
		}
		if err := arrives(t, "the end", over); err != nil {
			t.Error(err)
		}
		wantError(t, arrives(t, "the news", watched), exc.Disconnected, "closing")
		wantError(t, noteOn(t.Context(), there, 2, 1), exc.Disconnected, "")
		if err := c.byName["bob"].Shutdown(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
		c.objects["alice"].wantOrder(t, 1, 1)
	})
}

// A call in flight may need to be called back.
func TestShutdownLetsCallsBackIn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob")
		bob := c.ready("alice", "bob")
		c.link("alice", "bob").Hold()
		mine, client := newProbe("mine")
		ans, release := bob.CallBack(t.Context(), func(p testapi.Probe_callBack_Params) error {
			p.SetFrom(1)
			p.SetN(1)
			return p.SetProbe(client)
		})
		defer release()
		over := c.shuttingDown(t.Context(), "alice")
		c.link("alice", "bob").Free()
		if _, err := ans.Struct(); err != nil {
			t.Error(err)
		}
		if err := arrives(t, "the end", over); err != nil {
			t.Error(err)
		}
		mine.wantOrder(t, 1, 1)
	})
}

// When time is up, what is in flight fails as with Close. Without anything in flight no time passes.
func TestShutdownInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "alice", "bob")
		bob := c.ready("alice", "bob")
		in, release := bob.Wait(t.Context(), nil)
		defer release()
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.byName["bob"].Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		_, err := in.Struct()
		wantError(t, err, exc.Disconnected, "")
		begin = time.Now()
		if err := c.byName["alice"].Shutdown(ctx); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}
