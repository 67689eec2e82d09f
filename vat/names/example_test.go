package names_test

import (
	"context"
	"fmt"
	"log"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/names"
)

type greeter struct{}

func (greeter) Greet(_ context.Context, call greeting.Greeter_greet) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting("Hello!")
}

// publishGreeter publishes g, and takes it over, until it is withdrawn. Only the vat whose bootstrap of the node
// directory is can replace or withdraw the name.
func publishGreeter(ctx context.Context, directory names.Directory, g greeting.Greeter) error {
	published, release := directory.Publish(ctx, func(p names.Directory_publish_Params) error {
		if err := p.SetName("greeter"); err != nil {
			return err
		}
		return p.SetCap(capnp.Client(g))
	})
	defer release()
	_, err := published.Struct()
	return err
}

// findGreeter calls what is published, wherever that is: the call goes to its host.
func findGreeter(ctx context.Context, directory names.Directory) (string, error) {
	found, release := directory.Lookup(ctx, func(p names.Directory_lookup_Params) error { return p.SetName("greeter") })
	defer release()
	greeted, free := greeting.Greeter(found.Cap()).Greet(ctx, nil) // without waiting for the look-up
	defer free()
	results, err := greeted.Struct()
	if err != nil {
		return "", err
	}
	return results.Greeting()
}

// A node with a directory, and a vat that publishes something and finds it. `vatnode run` is such a node, in a cluster.
func Example() {
	memory := transport.NewMemory()
	start := func(name string, cfg vat.Config) *vat.Vat {
		cfg.Network, cfg.Directory = must(memory.Vat(name, transport.Config{Name: name})), memory
		return must(vat.New(cfg))
	}
	registry := names.New(names.Config{ID: "plain:node", Name: "node"})
	node := start("node", vat.Config{BootstrapFor: registry.BootstrapFor})
	defer node.Close()
	defer registry.Close()
	registry.Start(node) // in a cluster, its callbacks call registry.Joined and registry.Departed

	guest := start("guest", vat.Config{})
	defer guest.Close()
	ctx := context.Background()
	directory := names.Directory(guest.Bootstrap(ctx, node.ID()))
	defer directory.Release()
	if err := publishGreeter(ctx, directory, greeting.Greeter_ServerToClient(greeter{})); err != nil {
		log.Fatal(err)
	}
	fmt.Println(must(findGreeter(ctx, directory)))
	// Output: Hello!
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
