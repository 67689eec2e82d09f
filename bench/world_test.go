package bench

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// greeter serves what the calls call.
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
	return results.SetGreeting(name)
}

func newGreeter() capnp.Client { return capnp.Client(greeting.Greeter_ServerToClient(greeter{})) }

// newVat makes a vat in plain mode, that is closed in the end.
func newVat(t testing.TB, name string, bootstrap capnp.Client) (*vat.Vat, []string) {
	t.Helper()
	network, err := transport.ListenPlain("127.0.0.1:0", name, transport.Config{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vat.New(vat.Config{Network: network, Bootstrap: bootstrap})
	if err != nil {
		t.Fatal(errors.Join(err, network.Close()))
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v, network.Addrs()
}

// vatworkGreeter is a greeter at another vat.
func vatworkGreeter(t testing.TB) greeting.Greeter {
	server, addrs := newVat(t, "server", newGreeter())
	client, _ := newVat(t, "client", capnp.Client{})
	c := greeting.Greeter(client.Bootstrap(t.Context(), server.ID(), addrs...))
	t.Cleanup(c.Release)
	return c
}

// goCapnpGreeter is a greeter at the other end of a connection of go-capnp's.
func goCapnpGreeter(t testing.TB) greeting.Greeter {
	near, far := tcpPair(t)
	server := rpc.NewConn(rpc.NewStreamTransport(far), &rpc.Options{BootstrapClient: newGreeter()})
	client := rpc.NewConn(rpc.NewStreamTransport(near), nil)
	c := greeting.Greeter(client.Bootstrap(t.Context()))
	t.Cleanup(func() {
		c.Release()
		_ = client.Close()
		<-server.Done()
	})
	return c
}

// tcpPair is a connection over loopback. Whoever gets it closes it.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// greet makes one call and reads its result.
func greet(ctx context.Context, c greeting.Greeter) error {
	answer, release := c.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName("world") })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return err
	}
	if got, err := results.Greeting(); err != nil || got != "world" {
		return errors.Join(err, errors.New("greeted "+got))
	}
	return nil
}

// A trio is three vats, of which Bob gives Alice what Carol hosts.
type trio struct {
	alice *vat.Vat
	bob   threeparty.BobAPI   // as Alice has it
	carol threeparty.CarolAPI // as Alice has it
}

func newTrio(t testing.TB) trio {
	ctx := t.Context()
	carol, carolAddrs := newVat(t, "carol", capnp.Client(threeparty.NewCarol(nil)))
	b, bobAPI := threeparty.NewBob(nil)
	bob, bobAddrs := newVat(t, "bob", capnp.Client(bobAPI))
	alice, _ := newVat(t, "alice", capnp.Client{})
	if err := b.Start(ctx, bob, carol.ID(), carolAddrs...); err != nil {
		t.Fatal(err)
	}
	b.Resolve() // he gives Carol's capability itself, and no promise
	tr := trio{
		alice: alice,
		bob:   threeparty.BobAPI(alice.Bootstrap(ctx, bob.ID(), bobAddrs...)),
		carol: threeparty.CarolAPI(alice.Bootstrap(ctx, carol.ID(), carolAddrs...)),
	}
	t.Cleanup(func() {
		b.LetGo()
		tr.bob.Release()
		tr.carol.Release()
	})
	if err := errors.Join(tr.bob.Resolve(ctx), tr.carol.Resolve(ctx)); err != nil {
		t.Fatal(err)
	}
	return tr
}

// fresh has Bob introduce Carol's capability, and calls it when it is here.
func (tr trio) fresh(ctx context.Context) error {
	foo, release := tr.bob.Foo(ctx, nil)
	defer release()
	results, err := foo.Struct()
	if err != nil {
		return err
	}
	return bar(ctx, results.CapBla())
}

// pipelined calls Carol's capability while Bob has not answered yet.
func (tr trio) pipelined(ctx context.Context) error {
	foo, release := tr.bob.Foo(ctx, nil)
	defer release()
	return bar(ctx, foo.CapBla())
}

// none fetches the capability from Carol.
func (tr trio) none(ctx context.Context) error {
	capBla, release := tr.carol.CapBla(ctx, nil)
	defer release()
	results, err := capBla.Struct()
	if err != nil {
		return err
	}
	return bar(ctx, results.CapBla())
}

func bar(ctx context.Context, c threeparty.CapBla) error {
	answer, release := c.Bar(ctx, func(p threeparty.CapBla_bar_Params) error { return p.SetBarArg("x") })
	defer release()
	_, err := answer.Struct()
	return err
}

// together runs f n times in all, on as many goroutines as callers says.
func together(n, callers int, f func() error) error {
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for range todo {
				if err := f(); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
