// Command nodes is hello over the network: two nodes with keys of their own, TLS 1.3 between them, and gossip by
// which one finds the other by name. They share a process here so that one command shows them; nothing
// in the code needs that.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

type greeter struct{}

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

// serve makes the bootstrap capability of v: an object that is an actor of v, and starts anew after a panic.
func serve(v *vat.Vat) (capnp.Client, error) {
	g, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server { return greeter{} })
	return capnp.Client(g), err
}

// A node is a vat and its place in the cluster.
type node struct {
	vat    *vat.Vat
	member *cluster.Node
}

// startNode makes a node that bears name. Its key is in keyFile, and made there on first use. join is the
// gossip address of any member, and empty for the first one. serve may be nil.
func startNode(ctx context.Context, name, keyFile string, serve func(*vat.Vat) (capnp.Client, error), join ...string) (*node, error) {
	key, err := transport.LoadIdentity(keyFile)
	if err != nil {
		return nil, err
	}
	door := cluster.NewAdmission() // members may connect, and no one else
	network, err := transport.ListenTLS("127.0.0.1:0", key, transport.Config{Name: name, Admit: door.Admit})
	if err != nil {
		return nil, err
	}
	n, made := &node{}, make(chan struct{})
	defer close(made)
	n.member, err = cluster.Start(ctx, cluster.Config{
		ID: key.ID(), Name: name, Addresses: network.Addrs(), Join: join, Sign: key.Sign, Admission: door,
		OnFailed: func(id transport.VatID, reason string) { // unless it shows itself now, calls to it end
			if <-made; n.vat != nil {
				n.vat.Suspect(id, reason)
			}
		},
	})
	if err != nil {
		return nil, errors.Join(err, network.Close())
	}
	n.vat, err = vat.New(vat.Config{Network: network, Directory: n.member, Serve: serve})
	if err != nil {
		return nil, errors.Join(err, n.member.Close(), network.Close())
	}
	return n, nil
}

// close ends the node.
func (n *node) close() error { return errors.Join(n.vat.Close(), n.member.Close()) }

func run(ctx context.Context, folder string) (err error) {
	server, err := startNode(ctx, "server", filepath.Join(folder, "server.pem"), serve)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	client, err := startNode(ctx, "client", filepath.Join(folder, "client.pem"), nil, server.member.GossipAddr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.close()) }()

	id, ok := client.member.Lookup("server")
	if !ok {
		return errors.New("no member is named server")
	}
	remote := greeting.Greeter(client.vat.Bootstrap(ctx, id)) // the directory knows where
	defer remote.Release()
	answer, release := remote.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName("world") })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return err
	}
	text, err := results.Greeting()
	if err != nil {
		return err
	}
	_, err = fmt.Println(text)
	return err
}

func main() {
	folder, err := os.MkdirTemp("", "nodes")
	if err == nil {
		err = errors.Join(run(context.Background(), folder), os.RemoveAll(folder))
	}
	if err != nil {
		log.Fatal(err)
	}
}
