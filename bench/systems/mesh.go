package systems

import (
	"context"
	"errors"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/bench/wire"
	"github.com/vatwork/vatwork/vat"
)

// A Mesh is vats in this process, in a circle: each is broker for the host in the next one, and asks those
// behind it. Its methods may be called from any goroutine.
type Mesh struct {
	vats   int
	alices []*Alice // of the first acquaintance of each vat, then of the second, and so on
	next   atomic.Uint64
	ends   []func() error
}

// acquaintances are how many brokers each vat asks, at most: so many vats know of it, and the number of sessions grows as
// that of vats.
const acquaintances = 4

// member is the bootstrap of a vat of a mesh.
type member struct {
	*broker
	own wire.Host
}

func (m member) Shutdown() {
	m.broker.Shutdown()
	m.own.Release()
}

func (m member) Host(_ context.Context, call wire.Member_host) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetHost(m.own.AddRef())
}

// NewMesh makes a mesh of so many vats, three at least, in which every session is there. Whoever calls it closes it.
func NewMesh(ctx context.Context, vats int) (*Mesh, error) {
	m := &Mesh{vats: vats}
	err := m.start(ctx)
	if err == nil {
		err = m.Stock(ctx, vats*acquaintances)
	}
	for range len(m.alices) {
		if err == nil {
			err = m.Handoff(ctx, nil)
		}
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// start starts the vats and introduces them.
func (m *Mesh) start(ctx context.Context) error {
	brokers, all, addrs := make([]*broker, m.vats), make([]*vat.Vat, m.vats), make([]string, m.vats)
	for i := range m.vats {
		brokers[i] = new(broker)
		v, addr, end, err := Vatwork.(vatwork).vat(TCP, vat.Config{
			Bootstrap: capnp.Client(wire.Member_ServerToClient(member{brokers[i], wire.Host(newHost(NewServer))})),
		})
		if err != nil {
			return err
		}
		all[i], addrs[i] = v, addr
		m.ends = append(m.ends, end)
	}
	at := func(i, other int) (wire.Member, error) {
		c, err := bootstrap(ctx, all[i], addrs[other%m.vats])
		return wire.Member(c), err
	}
	for i := range m.vats {
		next, err := at(i, i+1)
		if err != nil {
			return err
		}
		answer, release := next.Host(ctx, nil)
		results, err := answer.Struct()
		if err == nil {
			brokers[i].host = results.Host().AddRef()
		}
		release()
		next.Release()
		if err != nil {
			return err
		}
	}
	for k := range min(acquaintances, m.vats-2) {
		for i := range m.vats {
			bob, err := at(i, i+k+1)
			if err != nil {
				return err
			}
			m.alices = append(m.alices, &Alice{Broker: wire.Broker(bob)})
		}
	}
	return nil
}

// Stock prepares for n handoffs.
func (m *Mesh) Stock(ctx context.Context, n int) error {
	for _, a := range m.alices[:m.vats] { // one for each broker
		if err := a.Stock(ctx, n/m.vats+2); err != nil {
			return err
		}
	}
	return nil
}

// Handoff has the next vat ask the next of those it knows for a capability of a third one, call that, and let it go.
func (m *Mesh) Handoff(ctx context.Context, data []byte) error {
	return m.alices[m.next.Add(1)%uint64(len(m.alices))].Handoff(ctx, data)
}

// Close ends all vats.
func (m *Mesh) Close() error {
	for _, a := range m.alices {
		a.Broker.Release()
	}
	var errs []error
	for _, end := range m.ends {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
