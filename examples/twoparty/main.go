// Command twoparty has a vat and a peer of level 1 call each other. The peer is go-capnp's own rpc package here, and
// might be a program on the C++ library: a vat needs no more than a connection and the bootstrap capability.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

type greeter struct{ name string }

func (g greeter) Greet(_ context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetGreeting("Hello, " + name + ", this is " + g.name + ".")
}

// listen serves peers of level 1 on a Unix socket: each gets the bootstrap capability of v. What comes on done is why
// that has ended: nil once the listener or v is closed.
func listen(v *vat.Vat, socket string) (l net.Listener, done <-chan error, err error) {
	l, err = net.Listen("unix", socket) // or "tcp", or tls.NewListener on top of that
	if err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- v.ServeTwoParty(l) }()
	return l, ended, nil
}

// dial calls the bootstrap capability of the peer of level 1 that listens at address.
func dial(ctx context.Context, v *vat.Vat, address string) (string, error) {
	c, err := v.DialTwoParty(ctx, "tcp", address) // or "unix"; or DialTwoPartyTLS
	if err != nil {
		return "", err
	}
	remote := greeting.Greeter(c)
	defer remote.Release() // the connection ends with the last reference
	return greet(ctx, remote, "vat")
}

// The peer: nothing of Vatwork's from here on.

// peerCalls connects to socket and calls what it finds there.
func peerCalls(ctx context.Context, socket string) (string, error) {
	raw, err := net.Dial("unix", socket)
	if err != nil {
		return "", err
	}
	conn := rpc.NewConn(rpc.NewStreamTransport(raw), nil)
	defer conn.Close()
	remote := greeting.Greeter(conn.Bootstrap(ctx))
	defer remote.Release()
	return greet(ctx, remote, "peer")
}

// peerServes serves one connection to l, until it ends.
func peerServes(l net.Listener) error {
	raw, err := l.Accept()
	if err != nil {
		return err
	}
	bootstrap := capnp.Client(greeting.Greeter_ServerToClient(greeter{"the peer"}))
	conn := rpc.NewConn(rpc.NewStreamTransport(raw), &rpc.Options{BootstrapClient: bootstrap})
	<-conn.Done()
	return nil
}

func greet(ctx context.Context, g greeting.Greeter, name string) (string, error) {
	answer, release := g.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName(name) })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return "", err
	}
	return results.Greeting()
}

func run(ctx context.Context, folder string) (err error) {
	// The vat has no network of other vats here, but it might.
	network, err := transport.NewMemory().Vat("example", transport.Config{})
	if err != nil {
		return err
	}
	v, err := vat.New(vat.Config{
		Network:   network,
		Bootstrap: capnp.Client(greeting.Greeter_ServerToClient(greeter{"the vat"})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()

	socket := filepath.Join(folder, "socket")
	l, done, err := listen(v, socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close(), <-done) }()
	text, err := peerCalls(ctx, socket)
	if err != nil {
		return err
	}
	fmt.Println(text)

	theirs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer theirs.Close()
	served := make(chan error, 1)
	go func() { served <- peerServes(theirs) }()
	if text, err = dial(ctx, v, theirs.Addr().String()); err != nil {
		return err
	}
	fmt.Println(text)
	return <-served
}

func main() {
	folder, err := os.MkdirTemp("", "twoparty")
	if err == nil {
		err = errors.Join(run(context.Background(), folder), os.RemoveAll(folder))
	}
	if err != nil {
		log.Fatal(err)
	}
}
