package systems

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// A Crowding system can make many connections at little cost to who makes them.
type Crowding interface {
	System
	// Crowd makes n connections to what Serve serves, each of which holds its bootstrap from then on.
	Crowd(ctx context.Context, t Transport, addr string, n int) (io.Closer, error)
}

// crowd makes n connections, some at a time.
func crowd(n int, dial func() (end func() error, err error)) (io.Closer, error) {
	ends, errs := make(closers, n), make([]error, n)
	const atATime = 16
	var all sync.WaitGroup
	for first := range atATime {
		all.Go(func() {
			for i := first; i < n; i += atATime {
				ends[i], errs[i] = dial()
			}
		})
	}
	all.Wait()
	for i := range ends {
		if ends[i] == nil {
			ends[i] = func() error { return nil }
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, ends.Close())
	}
	return ends, nil
}

// Crowd implements Crowding. A whole vat has an actor system of its own, which takes more than a thousand sessions do: so
// these speak for themselves.
func (s vatwork) Crowd(ctx context.Context, t Transport, addr string, n int) (io.Closer, error) {
	id, at, _ := strings.Cut(addr, "|")
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	root, err := rpc.NewRootMessage(seg)
	if err == nil {
		_, err = root.NewBootstrap() // question 0
	}
	if err != nil {
		return nil, err
	}
	frame, err := msg.Marshal()
	if err != nil {
		return nil, err
	}
	return crowd(n, func() (func() error, error) {
		network, remove, err := s.network(t)
		if err != nil {
			return nil, err
		}
		end := func() error { return errors.Join(network.Close(), remove()) }
		conn, err := network.Dial(ctx, transport.VatID(id), []string{at})
		if err != nil {
			return end, err
		}
		end = func() error { return errors.Join(conn.Close(), network.Close(), remove()) }
		if err := conn.WriteFrames([][]byte{frame}); err != nil {
			return end, err
		}
		_, err = conn.ReadFrame() // the Return
		return end, err
	})
}

// Crowd implements Crowding.
func (goCapnp) Crowd(ctx context.Context, t Transport, addr string, n int) (io.Closer, error) {
	return crowd(n, func() (func() error, error) {
		c, err := dial(ctx, t, addr)
		if err != nil {
			return nil, err
		}
		client, end := attach(ctx, c)
		return func() error { client.Release(); return end() }, client.Resolve(ctx)
	})
}
