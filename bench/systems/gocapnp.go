package systems

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"

	"github.com/vatwork/vatwork/bench/wire"
)

// goCapnp is go-capnp's own rpc package, which proxies what is handed on.
type goCapnp struct{}

func (goCapnp) Name() string { return "go-capnp" }

func (g goCapnp) Serve(t Transport) (Server, error) { return g.serve(t, newHost(NewServer), nil) }

// serve offers bootstrap, which it takes over, on each connection. after is called in the end.
func (goCapnp) serve(t Transport, bootstrap capnp.Client, after func() error) (Server, error) {
	l, addr, remove, err := listen(t)
	if err != nil {
		bootstrap.Release()
		return nil, err
	}
	var mu sync.Mutex
	var conns []*rpc.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, rpc.NewConn(rpc.NewStreamTransport(c), &rpc.Options{BootstrapClient: bootstrap.AddRef()}))
			mu.Unlock()
		}
	})
	end := func() error {
		err := l.Close()
		accepting.Wait()
		for _, c := range conns {
			_ = c.Close() // the other side may have been the first
		}
		bootstrap.Release()
		if after != nil {
			err = errors.Join(err, after())
		}
		return err
	}
	return &server{addr, closers{end, remove}}, nil
}

func (goCapnp) Dial(ctx context.Context, t Transport, addr string) (Caller, error) {
	c, err := dial(ctx, t, addr)
	if err != nil {
		return nil, err
	}
	client, end := attach(ctx, c)
	return newCapCaller(ctx, wire.Echo(client), nil, end)
}

func attach(ctx context.Context, c net.Conn) (capnp.Client, func() error) {
	conn := rpc.NewConn(rpc.NewStreamTransport(c), nil)
	return conn.Bootstrap(ctx), func() error {
		_ = conn.Close() // likewise
		<-conn.Done()
		return nil
	}
}

func (g goCapnp) ServeBroker(t Transport, host string) (Server, error) {
	ctx, cancel := startTime()
	defer cancel()
	c, err := dial(ctx, t, host)
	if err != nil {
		return nil, err
	}
	carol, end := attach(context.Background(), c)
	bob, err := newBroker(ctx, wire.Host(carol), func() (wire.Bla, capnp.Resolver[wire.Bla]) {
		return capnp.NewLocalPromise[wire.Bla]()
	})
	if err != nil {
		return nil, errors.Join(err, end())
	}
	s, err := g.serve(t, bob, end)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	s.(*server).addr += "\n" + host
	return s, nil
}

func (goCapnp) DialBroker(ctx context.Context, t Transport, addr string) (*Alice, error) {
	bobAt, carolAt, _ := strings.Cut(addr, "\n")
	toBob, err := dial(ctx, t, bobAt)
	if err != nil {
		return nil, err
	}
	toCarol, err := dial(ctx, t, carolAt)
	if err != nil {
		return nil, errors.Join(err, toBob.Close())
	}
	bob, endBob := attach(context.Background(), toBob)
	carol, endCarol := attach(context.Background(), toCarol)
	end := func() error {
		bob.Release()
		carol.Release()
		return errors.Join(endBob(), endCarol())
	}
	if err := errors.Join(bob.Resolve(ctx), carol.Resolve(ctx)); err != nil {
		return nil, errors.Join(err, end())
	}
	return &Alice{Broker: wire.Broker(bob), Direct: wire.Host(carol), Close: end}, nil
}
