package vat

import (
	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
)

// What enters go-capnp is done off the turns, by one worker for the whole vat: so it is in one order, whichever
// sessions it came from, and needs no thought about which of them have to agree. But what a user wrote may block
// there, the Shutdown of a hook or the Return of a Returner, and every session's results would wait for it. So code
// that is foreign has a goroutine of its own each time: hooks of one's own are let go of in no order, as they have
// none in go-capnp either, and their calls have the queue of an object. What is left for the worker ends soon.

// aside runs f, which may block, on a goroutine of its own. Nobody waits for it, Close neither: it is the user's, as
// the methods of objects are. Nothing bounds them but that: there are as many as hooks and Returners of the user's
// own that block.
func (v *Vat) aside(f func()) {
	if d := v.hooks.Dispatcher; d != nil {
		d.Schedule(f)
		return
	}
	go f()
}

// foreign says whether to let go of c may block: c leads to a hook that is neither ours nor known not to. It borrows c.
func foreign(c capnp.Client) bool {
	s := c.Snapshot()
	if !s.IsValid() {
		return false
	}
	defer s.Release() // never the last one, for there is c
	brand := s.Brand()
	switch brand.Value.(type) {
	case *reference, *promise, *spawned, capnp.PipelineClient, error:
		return false
	}
	_, isServer := server.IsServer(brand)
	return !isServer
}

// release lets go of c.
func (v *Vat) release(c capnp.Client) {
	if foreign(c) {
		v.aside(c.Release)
		return
	}
	c.Release()
}

// empty lets go of the capabilities of msg.
func (v *Vat) empty(msg *capnp.Message) {
	table := msg.CapTable()
	for i := range table.Len() {
		c := table.At(i)
		table.Set(capnp.CapabilityID(i), capnp.Client{}) // a Release in progress would hold up the one of Reset
		v.release(c)
	}
	table.Reset()
}
