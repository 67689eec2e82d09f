package vat

import (
	"fmt"
	"sync"

	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
)

// An objectActor hands parcels to the hook of one object. It never restarts: the hook is not its to make anew.
//
// One that runs inline is kept for other objects when its own has ended: to spawn an actor and to stop it takes longer than
// the calls that many objects get. Who puts a call on an object that has ended must not have it delivered to another one,
// so a call says which object it is for. What serves and what it has there is for its turns.
type objectActor struct {
	name   string
	pid    *actor.PID
	server bool // of go-capnp: it runs inline

	serves *object // nil: none
	snap   capnp.ClientSnapshot
	called bool

	next serveObject // the message, used again: objects come one after the other
}

// serveObject has an inline actor let go of its object, if it has one, and serve of, with snap, if that is not nil.
type serveObject struct {
	of   *object
	snap capnp.ClientSnapshot
	done bool
}

// host finds o an actor, for the hook of s, which it borrows.
func (v *Vat) host(o *object, s capnp.ClientSnapshot, isServer bool) (err error) {
	if isServer {
		if o.host = v.spareHosts.take(); o.host != nil {
			snap := s.AddRef()
			if v.occupy(o.host, serveObject{of: o, snap: snap}) {
				return nil
			}
			snap.Release() // that one has failed
		}
	}
	a := &objectActor{name: fmt.Sprintf("object/%d", v.serial.Add(1)), server: isServer, serves: o, snap: s.AddRef()}
	o.host = a
	if isServer {
		a.pid, err = v.spawnInline(a.name, a)
	} else {
		o.queue = actors.NewQueue(v.hooks.Dispatcher)
		a.pid, err = v.spawn(a.name, actor.PropsFromProducer(func() actor.Actor { return a }, o.queue.Props()))
	}
	if err != nil {
		a.snap.Release()
	}
	return err
}

// occupy says whether a has taken m: not where it has failed.
func (v *Vat) occupy(a *objectActor, m serveObject) bool {
	a.next = m
	v.system.Root.Send(a.pid, &a.next)
	done := a.next.done
	a.next = serveObject{}
	return done
}

// vacate has a, which runs inline, let go of its object, and says whether it is kept.
func (v *Vat) vacate(a *objectActor) bool { return v.occupy(a, serveObject{}) && v.spareHosts.put(a) }

// Receive implements actor.Actor.
func (a *objectActor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *deliverCall:
		c := (*call)(m)
		if c.to != road(a.serves) {
			return
		}
		c.to = nil
		a.call(c)
		m.delivered = true
	case *deliver:
		strayed(m.parcel)
		m.done = true
	case *serveObject:
		a.letGo()
		a.serves, a.snap, a.called = m.of, m.snap, false
		m.done = true
	case *stopObject:
		ctx.Stop(ctx.Self())
	case *actor.Stopping:
		a.letGo()
	}
}

func (a *objectActor) letGo() {
	snap := a.snap
	a.serves, a.snap = nil, capnp.ClientSnapshot{}
	snap.Release()
}

// spareHosts are actors that serve no object.
type spareHosts struct {
	mu   sync.Mutex
	idle []*objectActor
}

// maxSpareHosts is how many are kept.
const maxSpareHosts = 1024

// take is nil where there is none.
func (h *spareHosts) take() *objectActor {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := len(h.idle) - 1
	if last < 0 {
		return nil
	}
	a := h.idle[last]
	h.idle = h.idle[:last]
	return a
}

// put says whether a is kept.
func (h *spareHosts) put(a *objectActor) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.idle) == maxSpareHosts {
		return false
	}
	h.idle = append(h.idle, a)
	return true
}
