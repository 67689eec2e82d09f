package vat

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A caller whose time is up finds that in the error of its call, and the cause if it has given one, wherever the call is.
func TestDeadlineOfCaller(t *testing.T) {
	errBusy := errors.New("busy")
	for where, place := range map[string]func(*cluster) testapi.Probe{
		"running at a peer": func(c *cluster) testapi.Probe { return c.ready("alice", "bob") },
		"waiting for a session": func(c *cluster) testapi.Probe {
			c.link("alice", "bob").Hold()
			return c.bootstrap("alice", "bob")
		},
		"waiting on a promise": func(c *cluster) testapi.Probe {
			p, resolver := NewPromise[testapi.Probe](c.byName["alice"])
			c.atEnd(func() { resolver.Reject(errBusy); p.Release() })
			return p
		},
		"pipelined on another": func(c *cluster) testapi.Probe {
			first, release := c.ready("alice", "bob").Wait(c.t.Context(), nil)
			c.atEnd(release)
			return first.Probe()
		},
	} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t, "alice", "bob")
				p := place(c)
				for _, cause := range []error{nil, errBusy} {
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
					defer cancel()
					ans, release := p.Wait(ctx, nil)
					_, err := ans.Struct()
					release()
					if !errors.Is(err, context.DeadlineExceeded) || cause != nil && !errors.Is(err, cause) {
						t.Errorf("with the cause %v: %v", cause, err)
					}
				}
				c.link("alice", "bob").Free()
				synctest.Wait()
			})
		})
	}
}
