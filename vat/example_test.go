package vat_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// host greets whom it can stand.
type host struct{}

func (host) Greet(_ context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	if name == "Mallory" {
		panic("not him again")
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting("Hello, " + name + "!")
}

// ask prints what c says to name.
func ask(c greeting.Greeter, name string) {
	answer, release := c.Greet(context.Background(), func(p greeting.Greeter_greet_Params) error { return p.SetName(name) })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	text, _ := results.Greeting()
	fmt.Println(text)
}

func ExampleSpawn() {
	network, err := transport.NewMemory().Vat("example", transport.Config{})
	if err != nil {
		panic(err)
	}
	v, err := vat.New(vat.Config{Network: network, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer v.Close()
	c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server { return host{} })
	if err != nil {
		panic(err)
	}
	defer c.Release()
	ask(c, "Mallory") // panics in there
	ask(c, "Alice")
	// Output:
	// error: greeting.capnp:Greeter.greet: object/1: greeting.capnp:Greeter.greet panicked: not him again
	// Hello, Alice!
}
