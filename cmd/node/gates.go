package main

import (
	"slices"
	"sync/atomic"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// A player's gates stand on its links, so that the director brings about the one order of the table among
// what the network could deliver in any. A gate holds its first message of some kind, and all behind it.
type gates map[string][]*transport.Valve // by peer: what a message to it passes, in this order

// wrap leads a connection through the gates that stand on it.
func (g gates) wrap(peer string, conn transport.Conn) transport.Conn {
	for _, valve := range slices.Backward(g[peer]) {
		conn = valve.Wrap(conn)
	}
	return conn
}

// aliceGates hold what Alice lets go while it is her Accepts that let go of it: the table has it at the end.
type aliceGates struct {
	gates
	finish  *transport.Valve // to Carol
	release *transport.Valve // to Bob
}

func newAliceGates() *aliceGates {
	g := &aliceGates{finish: closed(rpc.Message_Which_finish, 1), release: closed(rpc.Message_Which_release, 1)}
	g.gates = gates{carolName: {g.finish}, bobName: {g.release}}
	return g
}

// bobGates hold what Bob resolves on the link to Alice, and his two disembargoes on the link to Carol.
type bobGates struct {
	gates
	resolve             *transport.Valve
	provided, forwarded *transport.Valve
}

// newBobGates makes gates that are closed. A hold above zero delays each message to Carol by that long, from the
// first provide on; what Bob resolves is not held until Carol has the call then, for Alice is to be there first, but
// only until he has sent it.
func newBobGates(hold time.Duration) *bobGates {
	g := &bobGates{
		resolve:   closed(rpc.Message_Which_resolve, 1),
		provided:  closed(rpc.Message_Which_disembargo, 1),
		forwarded: closed(rpc.Message_Which_disembargo, 2),
	}
	sent, slow := transport.NewValve(), transport.NewValve()
	if hold > 0 {
		sent.HoldIf(g.freeResolveAfterCall())
		slow.Delay(hold, func(frame []byte) bool {
			msg, err := capnp.Unmarshal(frame)
			return err == nil && kind(msg) == rpc.Message_Which_provide
		})
	}
	g.gates = gates{aliceName: {g.resolve}, carolName: {sent, slow, g.provided, g.forwarded}}
	return g
}

// freeResolveAfterCall holds nothing: it sees the call pass that follows the provide, and frees what Bob resolves, both
// at once: else Alice might answer the first before the second is there.
func (g *bobGates) freeResolveAfterCall() func(*capnp.Message) bool {
	provided := false
	return func(frame *capnp.Message) bool {
		switch kind(frame) {
		case rpc.Message_Which_provide:
			provided = true
		case rpc.Message_Which_call:
			if provided {
				go g.freeBothResolves() // it writes to Alice: not on the way to Carol
			}
		}
		return false
	}
}

func (g *bobGates) freeBothResolves() {
	for g.resolve.Held() < 2 {
		time.Sleep(time.Millisecond) // a valve tells nobody what it holds
	}
	g.resolve.Free()
}

// closed is a gate for the n-th message of that kind, and all behind it, until it is freed.
func closed(held rpc.Message_Which, n int32) *transport.Valve {
	var seen atomic.Int32
	valve := transport.NewValve()
	valve.HoldIf(func(frame *capnp.Message) bool { return kind(frame) == held && seen.Add(1) == n })
	return valve
}

func kind(frame *capnp.Message) rpc.Message_Which {
	msg, err := rpc.ReadRootMessage(frame)
	if err != nil {
		return rpc.Message_Which_unimplemented // none of those that a gate waits for
	}
	return msg.Which()
}
