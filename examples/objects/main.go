// Command objects shows an object that is an actor of its vat: what its callers see when it panics, starts anew and
// stops for good, how one is told that it has, and how it calls itself.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// greeter counts whom it greets. It needs no lock for that: calls come one at a time.
type greeter struct {
	self  *greeting.Greeter // borrowed: an object that held a reference to itself would never end
	count int
}

func (g *greeter) Greet(ctx context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	if first, second, both := strings.Cut(name, " and "); both {
		return g.greetBoth(ctx, call, first, second)
	}
	if name == "" {
		panic("nobody there")
	}
	g.count++
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting(fmt.Sprintf("Hello, %s, my number %d!", name, g.count))
}

// greetBoth calls the object that it belongs to. Before it waits for that it says call.Go: from there on other calls
// run beside this one, which therefore leaves g alone. Without call.Go it would wait for itself.
func (g *greeter) greetBoth(ctx context.Context, call greeting.Greeter_greet, first, second string) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go()
	one, err := greet(ctx, *g.self, first)
	if err != nil {
		return err
	}
	two, err := greet(ctx, *g.self, second)
	if err != nil {
		return err
	}
	return results.SetGreeting(one + " " + two)
}

// spawn makes a greeter that may start anew twice a minute, and stops if that is not enough.
func spawn(v *vat.Vat) (g greeting.Greeter, err error) {
	self := new(greeting.Greeter)
	*self, err = vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods,
		func() greeting.Greeter_Server { return &greeter{self: self} },
		vat.Named("greeter"),
		vat.Supervised(actors.Policy{Restarts: 2, Within: time.Minute}),
		vat.Admitting(actors.Admission{Calls: 100}))
	return *self, err
}

// greet calls g and waits for the greeting.
func greet(ctx context.Context, g greeting.Greeter, name string) (string, error) {
	answer, release := g.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName(name) })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return "", err
	}
	return results.Greeting()
}

func main() {
	network := must(transport.NewMemory().Vat("example", transport.Config{}))
	quiet := slog.New(slog.DiscardHandler) // the stack of each panic would be logged
	v := must(vat.New(vat.Config{Network: network, Logger: quiet}))
	defer v.Close()
	g := must(spawn(v))
	defer g.Release()

	ctx := context.Background()
	broken := v.Watch(ctx, capnp.Client(g))
	for _, name := range []string{"Alice", "Bob and Carol", "", "Dave", "", "", "Erin"} {
		text, err := greet(ctx, g, name)
		if err != nil {
			text = "error: " + err.Error()
		}
		fmt.Printf("%q: %s\n", name, text)
	}
	fmt.Println("told:", <-broken)
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
