package vat

import (
	"context"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
)

// counting is a client of a server whose one method counts its calls.
func counting(calls *int) capnp.Client {
	return capnp.NewClient(server.New([]server.Method{{
		Method: capnp.Method{InterfaceID: 1, MethodID: 1},
		Impl:   func(context.Context, *server.Call) error { *calls++; return nil },
	}}, nil, nil))
}

// The actor of an object that has ended serves the next one, which gets nothing that was meant for the first.
func TestActorOfAnObjectThatHasEndedServesAnother(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	var first, second int
	one, two := counting(&first), counting(&second)
	defer one.Release()
	defer two.Release()
	call := func(to road) error {
		answer, release := v.send(t.Context(), capnp.Send{Method: capnp.Method{InterfaceID: 1, MethodID: 1}}, to)
		defer release()
		_, err := answer.Struct()
		return err
	}

	pinned := v.pinClient(one)
	ended := pinned.road.(*object)
	if err := call(ended); err != nil {
		t.Fatal(err)
	}
	pinned.free()
	pinned = v.pinClient(two)
	defer pinned.free()
	if o := pinned.road.(*object); o.host != ended.host {
		t.Fatal("the second object has an actor of its own")
	}
	if err := call(ended); err == nil {
		t.Error("a call on an object that has ended has succeeded")
	}
	if err := call(pinned.road); err != nil {
		t.Error(err)
	}
	if first != 1 || second != 1 {
		t.Errorf("the first object got %d calls, the second %d, want 1 and 1", first, second)
	}
}
