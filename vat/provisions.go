package vat

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/transport"
)

// provisionKey: "Nonces are unique for each introducer". The recipient is not in it, so that who asks for what
// is not his is told so, and at once.
type provisionKey struct {
	introducer transport.VatID
	nonce      nonce
}

// A provisionRef is a provision to those who tell it things. Its actor runs inline and enqueues at most.
type provisionRef struct {
	vat *Vat
	key provisionKey
	at  *provisionActor // until it is over, and then another's
	by  charge          // guarded by provisions.mu

	expiry *time.Timer // of kept results, see deadlines.go; guarded by provisions.mu
}

// A charge is whose account a provision is on: that of the introducer who named it, or as long as nobody has, of
// the recipient whose Accept is parked.
type charge struct {
	vat   transport.VatID
	named bool
}

// visitProvision has f run on the state. What it leaves is in the message, unless the actor has failed.
type visitProvision struct {
	f    func(*provision) []outcome
	done bool
	over bool
	why  error
	res  result // over: to be let go of
}

// A provisionActor holds the state of one provision at a time: spawning an actor costs more than what is told to most
// of them. All but name and pid is for its turns.
type provisionActor struct {
	vat        *Vat
	name       string
	pid        *actor.PID
	introducer transport.VatID
	state      provision
	visit      visitProvision // the message, used again with provisions.mu held
}

func (a *provisionActor) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*visitProvision); ok {
		out := m.f(&a.state)
		if m.over = a.state.done(); m.over {
			m.res, m.why = a.state.res, a.state.over
			a.state = provision{}
		}
		for _, o := range out {
			if r, ok := o.res.err.(*refusal); ok {
				a.vat.refused(r.by, a.introducer, r)
			}
			o.to.settle(o.res)
		}
		m.done = true
	}
}

// provisions is the table of a vat's provisions.
type provisions struct {
	mu    sync.Mutex
	live  map[provisionKey]*provisionRef
	spare []*provisionActor // of provisions that are over
	owed  map[charge]int    // how many of live each has caused
	// Keys that are done with: a late Accept is told so instead of being parked. A ring, so bounded.
	tombs map[provisionKey]error // why, nil where nobody named it
	ring  []provisionKey
	next  int
}

const tombstones = 4096

// spareProvisions is how many actors are kept for provisions to come.
const spareProvisions = 64

// provisionRoom says why by cannot be charged with one more.
func (v *Vat) provisionRoom(by charge) error {
	owed := v.provisions.owed[by]
	switch max, parked := v.limits.Provisions, v.limits.Parked; {
	case by.named && owed >= max:
		return v.beyondLimit("Provisions", max, "provisions by "+by.vat.Short())
	case !by.named && owed >= parked:
		return v.beyondLimit("Parked", parked, "Accepts that wait, of "+by.vat.Short())
	}
	return nil
}

func (t *provisions) charge(by charge, n int) {
	if t.owed == nil {
		t.owed = map[charge]int{}
	}
	if t.owed[by] += n; t.owed[by] == 0 {
		delete(t.owed, by)
	}
}

// provision visits the provision of key, which is made if need be. by is charged with it, if it is new or was
// parked until now.
func (v *Vat) provision(key provisionKey, by charge, f func(*provision) []outcome) (*provisionRef, error) {
	t := &v.provisions
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.live[key]
	if !ok {
		if why, ok := t.tombs[key]; ok && why != nil {
			return nil, failed("the provision is over: %v", why)
		} else if ok {
			return nil, failed("the provision is over")
		}
		if err := v.provisionRoom(by); err != nil {
			return nil, err
		}
		at, err := v.provisionActor(key.introducer)
		if err != nil {
			return nil, err
		}
		p = &provisionRef{vat: v, key: key, at: at, by: by}
		t.live[key] = p
		t.charge(by, 1)
		v.nodes.add(at.name, p.node)
	}
	if by.named && !p.by.named {
		if err := v.provisionRoom(by); err != nil {
			return nil, err
		}
		t.charge(p.by, -1)
		t.charge(by, 1)
		p.by = by
	}
	if !p.visitLocked(f) {
		return nil, failed("the provision has failed")
	}
	return p, nil
}

// provisionActor is one for a new provision of introducer's. The caller holds provisions.mu.
func (v *Vat) provisionActor(introducer transport.VatID) (*provisionActor, error) {
	if t := &v.provisions; len(t.spare) > 0 {
		a := t.spare[len(t.spare)-1]
		t.spare = t.spare[:len(t.spare)-1]
		a.introducer = introducer
		return a, nil
	}
	a := &provisionActor{vat: v, introducer: introducer, name: "provision/" + v.serialName()}
	pid, err := v.spawnInline(a.name, a)
	a.pid = pid
	return a, err
}

// retire takes back a that has no provision any more, and that has failed where ok is false. The caller holds
// provisions.mu.
func (t *provisions) retire(a *provisionActor, ok bool) {
	if ok && len(t.spare) < spareProvisions {
		t.spare = append(t.spare, a)
		return
	}
	a.vat.system.Root.Stop(a.pid)
}

// visit runs f on a provision that may be gone by now.
func (p *provisionRef) visit(f func(*provision) []outcome) {
	t := &p.vat.provisions
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live[p.key] == p {
		p.visitLocked(f)
	}
}

// leave has the Accept of to wait no longer.
func (p *provisionRef) leave(to accepter) {
	var unwanted *answerRef
	p.visit(func(x *provision) []outcome {
		x.leave(to)
		if x.over != nil && !x.ready && !x.awaited() {
			unwanted = x.call
		}
		return nil
	})
	if unwanted != nil {
		unwanted.unawaited()
	}
}

func (p *provisionRef) visitLocked(f func(*provision) []outcome) bool {
	p.at.visit = visitProvision{f: f}
	p.vat.system.Root.Send(p.at.pid, &p.at.visit)
	m := p.at.visit
	p.at.visit = visitProvision{}
	if m.over || !m.done {
		t := &p.vat.provisions
		if p.expiry != nil {
			p.expiry.Stop()
		}
		t.bury(p.key, m.why)
		t.charge(p.by, -1)
		p.vat.nodes.remove(p.at.name)
		t.retire(p.at, m.done)
		p.vat.freeResult(m.res)
	}
	return m.done
}

func (t *provisions) bury(key provisionKey, why error) {
	delete(t.live, key)
	if t.tombs == nil {
		t.tombs = map[provisionKey]error{}
	}
	if len(t.ring) < tombstones {
		t.ring = append(t.ring, key)
	} else {
		delete(t.tombs, t.ring[t.next])
		t.ring[t.next] = key
		t.next = (t.next + 1) % tombstones
	}
	t.tombs[key] = why
}

// introducerLost: what by, whose session has ended for why, was to provide and has not will not come by that any more.
// Who waits for it is told at once, and can take the vine.
func (v *Vat) introducerLost(by transport.VatID, why error) {
	t := &v.provisions
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, p := range t.live {
		if key.introducer == by && !p.by.named {
			p.visitLocked(func(x *provision) []outcome { return x.close(lost(by, why)) })
		}
	}
}

func lost(introducer transport.VatID, why error) error {
	return disconnected("the introducer %s is lost: %v", introducer.Short(), why)
}

// endProvisions leaves no Accept waiting for what will not come: the vat closes.
func (v *Vat) endProvisions() {
	t := &v.provisions
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.live {
		p.visitLocked(func(x *provision) []outcome {
			return x.close(disconnected("the vat %s is closing", v.ID().Short()))
		})
	}
}

func (p *provisionRef) node() Node {
	n := Node{Kind: "provision", Name: p.at.name, State: "over"}
	p.visit(func(x *provision) []outcome {
		n.Waiting = len(x.accepts)
		switch {
		case x.over != nil:
		case !x.known:
			n.State = "expected"
		case !x.ready:
			n.State = "known"
		default:
			n.State = "ready"
		}
		return nil
	})
	return n
}
