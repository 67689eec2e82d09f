// Command hello is the smallest program on Vatwork: a vat that serves an interface, and one that calls it.
package main

import (
	"context"
	"fmt"
	"log"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

type greeter struct{} // an object that serves greeting.Greeter

func (greeter) Greet(_ context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting("Hello, " + name + "!")
}

// start makes a vat in plain mode, on loopback. Vats on several machines: transport.ListenTLS.
func start(name string, bootstrap capnp.Client) (*vat.Vat, []string) {
	network := must(transport.ListenPlain("127.0.0.1:0", name, transport.Config{Name: name}))
	return must(vat.New(vat.Config{Network: network, Bootstrap: bootstrap})), network.Addrs()
}

func main() {
	server, addrs := start("server", capnp.Client(greeting.Greeter_ServerToClient(greeter{})))
	defer server.Close()
	client, _ := start("client", capnp.Client{})
	defer client.Close()

	ctx := context.Background()
	remote := greeting.Greeter(client.Bootstrap(ctx, server.ID(), addrs...))
	defer remote.Release()
	answer, release := remote.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName("world") })
	defer release() // the results below live until then
	fmt.Println(must(must(answer.Struct()).Greeting()))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
