package flood

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// An arena is a vat called carol, and peers around it, in a synctest bubble.
type arena struct {
	t       *testing.T
	memory  *transport.Memory
	target  *target
	carol   *vat.Vat
	stuck   *stuckWrites
	mallory *peer
	other   *peer // one who has done nothing
}

// A trial is how a limit is exceeded.
type trial struct {
	limits    vat.Limits
	wire      transport.Limits // of carol's network
	network   func(transport.Network) transport.Network
	flood     func(*arena)
	uncounted bool
}

// fight has a trial in an arena of its own, and checks that the limit struck, that nobody else was harmed, and that
// nothing is left.
func fight(t *testing.T, limit string, x trial) {
	synctest.Test(t, func(t *testing.T) {
		a := newArena(t, x)
		defer a.close()
		a.mallory, a.other = a.connect("mallory").start(), a.connect("other").start()
		x.flood(a)
		a.other.served()
		synctest.Wait()
		if !x.uncounted && a.carol.Exceeded()[limit] == 0 {
			t.Errorf("exceeded: %v, want %s", a.carol.Exceeded(), limit)
		}
		a.stuck.free()
		a.target.letGo()
		a.mallory.hangUp()
		a.other.served()
		a.other.hangUp()
		synctest.Wait()
		if tables := a.carol.Tables(); !tables.Empty() {
			t.Errorf("entries are left: %+v\n%v", tables, a.carol.Tree())
		}
	})
}

// close leaves nothing behind, also after a failure.
func (a *arena) close() {
	a.stuck.free()
	a.target.letGo()
	if err := a.carol.Close(); err != nil {
		a.t.Error(err)
	}
}

func newArena(t *testing.T, x trial) *arena {
	a := &arena{t: t, memory: transport.NewMemory(), target: &target{}, stuck: &stuckWrites{}}
	tcfg := transport.Config{Name: "carol", Wrap: a.stuck.wrap, Limits: x.wire}
	network := must(a.memory.Vat("carol", tcfg))
	if x.network != nil {
		network = x.network(network)
	}
	a.carol = must(vat.New(vat.Config{
		Network:   network,
		Directory: a.memory,
		Bootstrap: capnp.Client(testapi.Probe_ServerToClient(a.target)),
		Limits:    x.limits,
		TwoParty:  tcfg,
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))
	a.target.vat = a.carol
	return a
}

// connect makes a peer that is connected to carol.
func (a *arena) connect(name string) *peer {
	a.t.Helper()
	network := must(a.memory.Vat(name, transport.Config{Name: name}))
	a.t.Cleanup(func() { network.Close() })
	return dial(a.t, network, name, a.carol.ID(), a.memory.Addresses(a.carol.ID()))
}

// given is what mallory gave carol as describe says. The caller releases it.
func (a *arena) given(describe func(rpc.CapDescriptor)) testapi.Probe {
	a.t.Helper()
	a.mallory.send(call(100, object, methodKeep, nil, describe), finish(100))
	synctest.Wait()
	return a.target.first()
}

// stuckWrites has the writes of a vat to mallory block, as those to TCP do when nobody reads.
type stuckWrites struct {
	mu   sync.Mutex
	gate chan struct{} // nil: writes go through
}

func (s *stuckWrites) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *stuckWrites) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

func (s *stuckWrites) wrap(c transport.Conn) transport.Conn {
	if c.Peer().Name != "mallory" {
		return c
	}
	return &stuckConn{Conn: c, by: s, closed: make(chan struct{})}
}

type stuckConn struct {
	transport.Conn
	by     *stuckWrites
	once   sync.Once
	closed chan struct{}
}

func (c *stuckConn) WriteFrames(frames [][]byte) error {
	c.by.mu.Lock()
	gate := c.by.gate
	c.by.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-c.closed:
			return net.ErrClosed
		}
	}
	return c.Conn.WriteFrames(frames)
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
