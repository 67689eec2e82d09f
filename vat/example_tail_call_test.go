package vat_test

import (
	"context"
	"log/slog"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// frontDesk leaves it to a colleague to greet.
type frontDesk struct{ colleague greeting.Greeter }

func (f frontDesk) Greet(ctx context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	return vat.TailCall(ctx, call, f.colleague, greeting.Greeter.Greet, func(p greeting.Greeter_greet_Params) error {
		return p.SetName(name)
	})
}

// Alice asks bob, and carol answers her.
func ExampleTailCall() {
	memory := transport.NewMemory()
	start := func(name string, offers func(*vat.Vat) (capnp.Client, error)) *vat.Vat {
		network, err := memory.Vat(name, transport.Config{})
		if err != nil {
			panic(err)
		}
		v, err := vat.New(vat.Config{Network: network, Directory: memory, Serve: offers, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			panic(err)
		}
		return v
	}
	carol := start("carol", func(v *vat.Vat) (capnp.Client, error) {
		c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server { return host{} })
		return capnp.Client(c), err
	})
	defer carol.Close()
	bob := start("bob", func(v *vat.Vat) (capnp.Client, error) {
		colleague := greeting.Greeter(v.Bootstrap(context.Background(), carol.ID()))
		return capnp.Client(greeting.Greeter_ServerToClient(frontDesk{colleague})), nil
	})
	defer bob.Close()
	alice := start("alice", nil)
	defer alice.Close()
	desk := greeting.Greeter(alice.Bootstrap(context.Background(), bob.ID()))
	defer desk.Release()
	ask(desk, "Alice")
	// Output: Hello, Alice!
}
