package systems

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/bench/wire"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// vatwork is this runtime. Its addresses are "<vat id>|<address>|<addresses of the host>", where the last part is
// there for brokers alone.
type vatwork struct {
	name    string
	proxied bool
	actors  bool // fresh objects are actors
}

func (s vatwork) Name() string { return s.name }

var serial atomic.Int64 // names for plain vats, in this process

// network makes the network of a vat: for TLS with a new key, else in plain mode, which is of loopback and of Unix
// sockets only. remove is for the end.
func (s vatwork) network(t Transport) (n transport.Network, remove func() error, err error) {
	cfg := transport.Config{Logger: slog.New(slog.DiscardHandler)}
	if s.proxied {
		cfg.Features = transport.AllFeatures &^ (transport.FeatureHandoff | transport.FeatureCallForwarding)
	}
	remove = func() error { return nil }
	if t == TLS {
		key, err := transport.NewIdentity()
		if err != nil {
			return nil, nil, err
		}
		n, err = transport.ListenTLS("127.0.0.1:0", key, cfg)
		return n, remove, err
	}
	addr := "127.0.0.1:0"
	if t == Unix {
		var path string
		if path, remove, err = socketPath(); err != nil {
			return nil, nil, err
		}
		addr = "unix:" + path
	}
	n, err = transport.ListenPlain(addr, fmt.Sprintf("bench-%d-%d", os.Getpid(), serial.Add(1)), cfg)
	if err != nil {
		err = errors.Join(err, remove())
	}
	return n, remove, err
}

// vat makes a vat, which end ends.
func (s vatwork) vat(t Transport, cfg vat.Config) (v *vat.Vat, addr string, end func() error, err error) {
	network, remove, err := s.network(t)
	if err != nil {
		return nil, "", nil, err
	}
	cfg.Network = network
	cfg.EarlyReturn = EarlyReturns()
	if v, err = vat.New(cfg); err != nil {
		return nil, "", nil, errors.Join(err, network.Close(), remove())
	}
	return v, string(v.ID()) + "|" + network.Addrs()[0], func() error { return errors.Join(v.Close(), remove()) }, nil
}

func (s vatwork) Serve(t Transport) (Server, error) {
	_, addr, end, err := s.vat(t, vat.Config{Serve: func(v *vat.Vat) (capnp.Client, error) {
		if s.actors {
			return newHost(func() (wire.Echo, error) { return spawn(v) }), nil
		}
		return newHost(NewServer), nil
	}})
	if err != nil {
		return nil, err
	}
	return &server{addr, closers{end}}, nil
}

func (s vatwork) Dial(ctx context.Context, t Transport, addr string) (Caller, error) {
	v, _, end, err := s.vat(t, vat.Config{})
	if err != nil {
		return nil, err
	}
	c, err := bootstrap(ctx, v, addr)
	return newCapCaller(ctx, wire.Echo(c), err, end)
}

func bootstrap(ctx context.Context, v *vat.Vat, addr string) (capnp.Client, error) {
	parts := strings.Split(addr, "|")
	if len(parts) < 2 {
		return capnp.Client{}, fmt.Errorf("%q is no address of a vat", addr)
	}
	return v.Bootstrap(ctx, transport.VatID(parts[0]), parts[1]), nil
}

func (s vatwork) ServeBroker(t Transport, host string) (Server, error) {
	ctx, cancel := startTime()
	defer cancel()
	var bob *vat.Vat
	_, addr, end, err := s.vat(t, vat.Config{Serve: func(v *vat.Vat) (capnp.Client, error) {
		bob = v
		carol, err := bootstrap(ctx, v, host)
		if err != nil {
			return capnp.Client{}, err
		}
		return newBroker(ctx, wire.Host(carol), func() (wire.Bla, capnp.Resolver[wire.Bla]) { return vat.NewPromise[wire.Bla](bob) })
	}})
	if err != nil {
		return nil, err
	}
	return &server{addr + "|" + host, closers{end}}, nil
}

func (s vatwork) DialBroker(ctx context.Context, t Transport, addr string) (*Alice, error) {
	parts := strings.SplitN(addr, "|", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("%q is no address of a broker", addr)
	}
	v, _, end, err := s.vat(t, vat.Config{})
	if err != nil {
		return nil, err
	}
	bob, err := bootstrap(ctx, v, addr)
	if err == nil {
		err = bob.Resolve(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, end())
	}
	carol, err := bootstrap(ctx, v, parts[2])
	if err != nil {
		return nil, errors.Join(err, end())
	}
	carolID, _, _ := strings.Cut(parts[2], "|")
	return &Alice{
		Broker: wire.Broker(bob),
		Direct: wire.Host(carol),
		Forget: func() { v.EndSession(transport.VatID(carolID), "cold") },
		Close: func() error {
			bob.Release()
			carol.Release()
			return end()
		},
	}, nil
}

// newCapCaller is a caller for c once that is connected; close is called in the end, and if it never is.
func newCapCaller(ctx context.Context, c wire.Echo, err error, end func() error) (Caller, error) {
	if err == nil {
		err = c.Resolve(ctx)
	}
	if err == nil {
		err = Call(ctx, c, []byte("hello"))
	}
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return &capCaller{c, closers{func() error { c.Release(); return end() }}}, nil
}

// socketPath is for a Unix socket, in a folder of its own, which remove removes.
func socketPath() (path string, remove func() error, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	return filepath.Join(dir, "s"), func() error { return os.RemoveAll(dir) }, err
}

// NewObjects makes a vat, in which fresh makes objects that are actors. Whoever calls it closes the vat.
func NewObjects() (v *vat.Vat, fresh func() (wire.Echo, error), err error) {
	v, _, _, err = vatwork{}.vat(TCP, vat.Config{})
	return v, func() (wire.Echo, error) { return spawn(v) }, err
}

// spawn makes an object that is an actor.
func spawn(v *vat.Vat) (wire.Echo, error) {
	return vat.Spawn[wire.Echo](v, wire.Echo_Methods, func() wire.Echo_Server { return echo{} })
}
