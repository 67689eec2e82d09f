package vat

import (
	"context"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

type panicking struct{ testapi.Probe_Server }

func (panicking) Note(context.Context, testapi.Probe_note) error { panic("on purpose") }

// An object ends, in a turn of the vat's own actor, while a session is made, for which an actor is spawned under
// the vat's lock: neither may wait for the other.
func TestObjectEndsWhileASessionIsMade(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	object, err := Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return panicking{} },
		Supervised(actors.Policy{On: actors.Stop}))
	if err != nil {
		t.Fatal(err)
	}
	defer object.Release()
	var broken <-chan struct{}
	v.mu.Lock()
	for x := range v.objects {
		broken = x.host.Broken()
	}
	ans, release := object.Note(t.Context(), noting(1, 1))
	defer release()
	arrives(t, "the end of the object", broken) // its supervisor is about to say so to the vat
	made := make(chan struct{})
	go func() {
		defer close(made)
		if _, err := v.spawn("session", actor.PropsFromFunc(func(actor.Context) {})); err != nil {
			t.Error(err)
		}
		v.mu.Unlock()
	}()
	arrives(t, "an actor", made)
	if _, err := ans.Struct(); err == nil {
		t.Error("a call that panicked has succeeded")
	}
}
