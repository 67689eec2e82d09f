package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"capnproto.org/go/capnp/v3"
)

const memScheme = "mem!"

// Memory connects vats of one process, for tests. It starts no goroutine and knows no time: what is written
// can be read at once, unless a Link holds it back. Frames go through the same encoding, decoding and
// limits as over TCP. What has been written and not been read is unbounded, so that a test never blocks
// in writing.
type Memory struct {
	mu     sync.Mutex
	vats   map[VatID]*memNetwork
	starts map[VatID]uint64 // how often each name has been started: the default epoch
	links  map[direction]*Link
}

type direction struct{ from, to VatID }

// NewMemory returns a memory without vats.
func NewMemory() *Memory {
	return &Memory{
		vats:   make(map[VatID]*memNetwork),
		starts: make(map[VatID]uint64),
		links:  make(map[direction]*Link),
	}
}

// Vat makes the network of the vat "plain:<name>", whose address is "mem!<name>". There can be one of a
// name at a time; after Close the vat may be started anew, by default with the next epoch.
func (m *Memory) Vat(name string, cfg Config) (Network, error) {
	id, err := ParseVatID(plainPrefix + name)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.vats[id] != nil {
		return nil, fmt.Errorf("transport: there is a vat %s already", id)
	}
	cfg, err = cfg.withDefaults(m.starts[id] + 1)
	if err != nil {
		return nil, err
	}
	m.starts[id]++
	n := &memNetwork{
		memory: m,
		local:  cfg.hello(id),
		cfg:    cfg,
		ready:  make(chan Conn, cfg.Limits.MaxHandshakes),
		done:   make(chan struct{}),
	}
	m.vats[id] = n
	return n, nil
}

// Link is the direction from one vat to another: the same Link each time, whether or not these vats or
// connections between them exist.
func (m *Memory) Link(from, to VatID) *Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[direction{from, to}]
	if l == nil {
		l = &Link{memory: m, direction: direction{from, to}, valve: NewValve()}
		m.links[direction{from, to}] = l
	}
	return l
}

// Addresses knows where every vat of m is, whether or not it runs: a directory for engines under test.
func (m *Memory) Addresses(id VatID) []string {
	if !id.IsPlain() {
		return nil
	}
	return []string{memAddr(id)}
}

func memAddr(id VatID) string { return memScheme + strings.TrimPrefix(string(id), plainPrefix) }

// memNetwork is one vat's Network.
type memNetwork struct {
	memory *Memory
	local  Hello
	cfg    Config
	ready  chan Conn     // sent to with memory.mu held, while this vat is in memory.vats
	done   chan struct{} // closed with memory.mu held
}

func (n *memNetwork) LocalID() VatID     { return n.local.ID }
func (n *memNetwork) Sign([]byte) []byte { return nil }
func (n *memNetwork) Addrs() []string    { return []string{memAddr(n.local.ID)} }

// Dial blocks in no other place than Admit, its own and the peer's, whose refusal is an error of Dial here. It fails
// where nobody listens, and where too many connections wait for the peer's Accept.
// A held link does not hold it up: hellos are no frames of the link.
func (n *memNetwork) Dial(ctx context.Context, peer VatID, addrs []string) (Conn, error) {
	if peer == n.local.ID {
		return nil, fmt.Errorf("transport: %s is this vat itself", peer)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("transport: no address of vat %s is known", peer)
	}
	if err := n.cfg.admitted(ctx, peer); err != nil {
		return nil, err
	}
	var tries []error
	for _, addr := range addrs {
		err := ctx.Err()
		if err == nil {
			var conn Conn
			if conn, err = n.dialOne(ctx, peer, addr); err == nil {
				return conn, nil
			}
		}
		tries = append(tries, fmt.Errorf("transport: dialing %s: %w", addr, err))
	}
	return nil, errors.Join(tries...)
}

func (n *memNetwork) dialOne(ctx context.Context, peer VatID, addr string) (Conn, error) {
	name, ok := strings.CutPrefix(addr, memScheme)
	if !ok {
		return nil, fmt.Errorf("an address of another network: want %sname", memScheme)
	}
	got := VatID(plainPrefix + name)
	there, err := n.partner(got)
	if err != nil {
		return nil, err
	}
	if got != peer {
		return nil, &WrongVatError{Want: peer, Got: got}
	}
	if err := there.cfg.admitted(ctx, n.local.ID); err != nil {
		return nil, err
	}
	// Each side learns of the other what it would read off a wire.
	theirs, err := hear(there.local, n.local)
	if err != nil {
		return nil, err
	}
	ours, err := hear(n.local, there.local)
	if err != nil {
		return nil, err
	}
	here, far := newMemConn(n, theirs), newMemConn(there, ours)
	here.join(far)
	far.join(here)

	accepted := there.cfg.Wrap(far)
	if err := there.offer(accepted); err != nil {
		accepted.Close()
		here.Close()
		return nil, err
	}
	return n.cfg.Wrap(here), nil
}

// partner returns the vat id, if both it and n are running.
func (n *memNetwork) partner(id VatID) (*memNetwork, error) {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	if n.memory.vats[n.local.ID] != n {
		return nil, net.ErrClosed
	}
	there := n.memory.vats[id]
	if there == nil {
		return nil, errors.New("connection refused: no such vat is running")
	}
	return there, nil
}

// hear is what the listener makes of the speaker's hello.
func hear(speaker, listener Hello) (Hello, error) {
	frame, err := speaker.frame()
	if err != nil {
		return Hello{}, err
	}
	return readHello(newFrameReader(bytes.NewReader(frame), helloLimits), listener, "")
}

func (n *memNetwork) offer(c Conn) error {
	n.memory.mu.Lock()
	defer n.memory.mu.Unlock()
	if n.memory.vats[n.local.ID] != n {
		return errors.New("connection refused: the vat has just stopped")
	}
	select {
	case n.ready <- c:
		return nil
	default:
		return fmt.Errorf("connection refused: %d connections wait to be accepted", cap(n.ready))
	}
}

func (n *memNetwork) Accept() (Conn, error) {
	select {
	case <-n.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case conn := <-n.ready:
		return conn, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *memNetwork) Close() error {
	n.memory.mu.Lock()
	if n.memory.vats[n.local.ID] == n {
		delete(n.memory.vats, n.local.ID)
		close(n.done)
	}
	n.memory.mu.Unlock()
	for {
		select {
		case conn := <-n.ready:
			conn.Close()
		default:
			return nil
		}
	}
}

// A Link is one direction between two vats of a Memory. It exists before connections do, and outlives them.
// It concerns frames; hellos pass, so a connection can be made over a held link. What it holds is
// unbounded. Methods may be called from any goroutine.
type Link struct {
	memory    *Memory
	direction direction
	valve     *Valve

	mu    sync.Mutex
	conns []*memConn // the ends that write onto this link, and are not closed
}

// ErrCut is how connections end that Link.Cut has cut.
var ErrCut = errors.New("transport: the link was cut")

// Hold holds back all frames written from now on, until Free.
func (l *Link) Hold() { l.valve.Hold() }

// HoldIf is as Valve.HoldIf.
func (l *Link) HoldIf(pred func(frame *capnp.Message) bool) { l.valve.HoldIf(pred) }

// Free lets everything go on that is held, in order, before it returns, and forgets the predicate of HoldIf.
func (l *Link) Free() { l.valve.Free() }

// Held is the number of frames held back.
func (l *Link) Held() int { return l.valve.Held() }

// Cut ends the connections between the two vats, in both directions and at both ends, with ErrCut. What
// is held or unread is lost. A held link stays held, and new connections can be made.
func (l *Link) Cut() {
	for _, link := range []*Link{l, l.memory.Link(l.direction.to, l.direction.from)} {
		link.valve.breakOff(ErrCut)
		link.mu.Lock()
		conns := link.conns
		link.conns = nil
		link.mu.Unlock()
		for _, c := range conns {
			c.inbox.fail(ErrCut)
		}
	}
}

func (l *Link) add(c *memConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
}

func (l *Link) remove(c *memConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.conns, c); i >= 0 {
		l.conns = slices.Delete(l.conns, i, i+1)
	}
}
