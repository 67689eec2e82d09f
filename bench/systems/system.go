package systems

import (
	"context"
	"fmt"
	"io"
)

// A Transport is what connections are made of.
type Transport string

// The transports.
const (
	TCP  Transport = "tcp"
	TLS  Transport = "tls" // 1.3, Ed25519
	Unix Transport = "unix"
)

// A System is a runtime that is measured. Its methods may be called from any goroutine.
type System interface {
	// Name is how reports call it.
	Name() string
	// Serve serves an Echo until it is closed. Where the system has capabilities it is a wire.Host.
	Serve(Transport) (Server, error)
	// Dial connects to what Serve serves.
	Dial(context.Context, Transport, string) (Caller, error)
}

// A Server is something that is served.
type Server interface {
	Addr() string
	io.Closer
}

// A Caller calls one Echo. All methods may be called from any goroutine, before Close.
type Caller interface {
	// Echo makes one call and reads its result: data again.
	Echo(ctx context.Context, data []byte) error
	// Stream calls push with data n times, and returns when all have been taken.
	Stream(ctx context.Context, data []byte, n int) error
	io.Closer
}

// A Broking system hands capabilities round among three vats.
type Broking interface {
	System
	// ServeBroker serves a wire.Broker for what the host at that address serves.
	ServeBroker(t Transport, host string) (Server, error)
	// DialBroker connects to what ServeBroker serves.
	DialBroker(context.Context, Transport, string) (*Alice, error)
}

// All are the systems, by name.
var All = map[string]System{}

func register(s System) System {
	All[s.Name()] = s
	return s
}

// The systems.
var (
	Vatwork = register(vatwork{name: "vatwork"})
	// VatworkProxied is Vatwork with handoff and call forwarding turned off: the broker passes every call on.
	VatworkProxied = register(vatwork{name: "vatwork-proxied", proxied: true})
	// VatworkActors is Vatwork with a host whose fresh objects are actors of its vat.
	VatworkActors = register(vatwork{name: "vatwork-actors", actors: true})
	GoCapnp       = register(goCapnp{})
	GRPC          = register(gRPC{})
	Raw           = register(raw{})
)

// Named is the system of that name.
func Named(name string) (System, error) {
	if s, ok := All[name]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("no system is called %q", name)
}

// closers close all of them, in order.
type closers []func() error

func (c closers) Close() (err error) {
	for _, f := range c {
		if e := f(); err == nil {
			err = e
		}
	}
	return err
}

type server struct {
	addr string
	closers
}

func (s *server) Addr() string { return s.addr }
