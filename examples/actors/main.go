// Command actors has plain protoactor actors and capabilities meet: one actor is exported as a capability, and
// another one calls it.
//
// The host introduces guests to each other, so it answers nobody before the next one has come. That works out only
// if a request to it does not hold up the next, and if the visitor's mailbox goes on while it waits.
package main

import (
	"context"
	"fmt"
	"log"

	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// host is a plain actor. It knows nothing of capabilities.
type host struct {
	waiting *actor.PID // for company, if not nil
	name    string
}

type hello struct{ name string } // to the host, which responds with a string

func (h *host) Receive(ctx actor.Context) {
	guest, ok := ctx.Message().(hello)
	switch {
	case !ok: // Started, Stopping and the like
	case h.waiting == nil:
		h.waiting, h.name = ctx.Sender(), guest.name
	default:
		ctx.Send(h.waiting, fmt.Sprintf("Hello, %s! Meet %s.", h.name, guest.name))
		ctx.Respond(fmt.Sprintf("Hello, %s! Meet %s.", guest.name, h.name))
		h.waiting = nil
	}
}

// door is the capability in front of the host.
type door struct {
	system *actor.ActorSystem
	host   *actor.PID
}

// Greet asks the host. call.Go lets the next call begin once this request is in the host's mailbox; ctx ends when the
// caller cancels.
func (d door) Greet(ctx context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	text, err := actors.Ask[string](ctx, d.system, d.host, hello{name}, call.Go)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting(text)
}

// visitor is a plain actor that calls a capability. What comes back is a message like any other.
type visitor struct {
	ctx  context.Context // of its calls
	door greeting.Greeter
	said chan<- string
}

type (
	visit  struct{ as string }
	answer struct {
		text string
		err  error
	}
)

func (v *visitor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case visit:
		v.ring(ctx, m.as)
	case answer:
		if m.err != nil {
			m.text = "error: " + m.err.Error()
		}
		v.said <- m.text
	}
}

// ring calls the door and does not wait: what comes of it is sent to the visitor.
func (v *visitor) ring(ctx actor.Context, name string) {
	results, release := v.door.Greet(v.ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName(name) })
	actors.PipeTo(ctx.ActorSystem(), ctx.Self(), results, release, toAnswer)
}

// toAnswer makes a message of results, which are gone when it returns: it copies what the visitor is to have.
func toAnswer(r greeting.Greeter_greet_Results, err error) any {
	if err != nil {
		return answer{err: err}
	}
	text, err := r.Greeting()
	return answer{text, err}
}

// serve starts a host in v and makes the capability in front of it.
func serve(v *vat.Vat) (capnp.Client, error) {
	system := v.ActorSystem()
	pid := system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &host{} }))
	g, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server { return door{system, pid} })
	return capnp.Client(g), err
}

func main() {
	serverNet := must(transport.ListenPlain("127.0.0.1:0", "server", transport.Config{Name: "server"}))
	server := must(vat.New(vat.Config{Network: serverNet, Serve: serve}))
	defer server.Close()
	clientNet := must(transport.ListenPlain("127.0.0.1:0", "client", transport.Config{Name: "client"}))
	client := must(vat.New(vat.Config{Network: clientNet}))
	defer client.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	remote := greeting.Greeter(client.Bootstrap(ctx, server.ID(), serverNet.Addrs()...))
	defer remote.Release()
	said := make(chan string)
	root := client.ActorSystem().Root
	pid := root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &visitor{ctx, remote, said} }))
	root.Send(pid, visit{as: "Alice"})
	root.Send(pid, visit{as: "Bob"})
	fmt.Println(<-said)
	fmt.Println(<-said)
	_ = root.StopFuture(pid).Wait()
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
