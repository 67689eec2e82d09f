package node

import (
	"context"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/vat"
)

// greeter is an object for trying out what a node does. It says which node runs it.
type greeter struct{ node string }

// Greet implements greeting.Greeter.
func (g greeter) Greet(_ context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting("Hello, " + name + "! This is " + g.node + ".")
}

func spawnGreeter(v *vat.Vat, node string) (greeting.Greeter, error) {
	return vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server { return greeter{node} })
}
