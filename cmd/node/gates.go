package main

import (
	"sync/atomic"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// gates stand on Bob's links, so that the director brings about the one order of the table among what the
// network could deliver in any.
type gates struct {
	// resolve holds what Bob resolves, and all behind it, on the link to Alice. Not used with a delay, which
	// is to show that Alice may be there first.
	resolve *transport.Valve

	// On the link to Carol, one behind the other: the delay; the disembargo for the provide and all behind it;
	// the disembargo for the forwarded call and all behind it.
	delay, provided, forwarded *transport.Valve
}

// newGates closes all gates. A hold above zero delays each message to Carol by that long, from the first provide on.
func newGates(hold time.Duration) *gates {
	g := &gates{
		resolve:   transport.NewValve(),
		delay:     transport.NewValve(),
		provided:  transport.NewValve(),
		forwarded: transport.NewValve(),
	}
	if hold > 0 {
		g.delay.Delay(hold, func(frame []byte) bool {
			msg, err := capnp.Unmarshal(frame)
			return err == nil && kind(msg) == rpc.Message_Which_provide
		})
	} else {
		g.resolve.HoldIf(func(frame *capnp.Message) bool { return kind(frame) == rpc.Message_Which_resolve })
	}
	g.provided.HoldIf(func(frame *capnp.Message) bool { return kind(frame) == rpc.Message_Which_disembargo })
	var seen atomic.Int32
	g.forwarded.HoldIf(func(frame *capnp.Message) bool {
		return kind(frame) == rpc.Message_Which_disembargo && seen.Add(1) == 2
	})
	return g
}

// wrap leads a connection of Bob's through the gates that stand on it.
func (g *gates) wrap(peer string, conn transport.Conn) transport.Conn {
	switch peer {
	case aliceName:
		return g.resolve.Wrap(conn)
	case carolName:
		return g.delay.Wrap(g.provided.Wrap(g.forwarded.Wrap(conn)))
	}
	return conn
}

func kind(frame *capnp.Message) rpc.Message_Which {
	msg, err := rpc.ReadRootMessage(frame)
	if err != nil {
		return rpc.Message_Which_unimplemented // none of those that a gate waits for
	}
	return msg.Which()
}
