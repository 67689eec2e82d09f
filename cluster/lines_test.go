package cluster_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/vatwork/vatwork/transport"
)

// lines is the network between the nodes of a town, over which the test decides: what goes from one side of a split to
// the other stays where it is until that heals, ends of connections included, as in a network that loses packets.
// Each connection between vats goes through a relay of its own; gossip asks whether it gets through.
type lines struct {
	called func(transport.VatID) string

	mu      sync.Mutex
	sides   map[string]int  // of each node; all 0: no split
	mute    map[string]bool // whose gossip is lost
	gossip  map[string]string
	changed chan struct{} // closed and replaced whenever sides or frozen changes
	relays  map[*relay]bool
	done    bool
	tasks   sync.WaitGroup
}

// relay is one connection.
type relay struct {
	from, to string
	frozen   bool // held up for itself
	ends     []io.Closer
}

func newLines(called func(transport.VatID) string) *lines {
	return &lines{called: called, sides: map[string]int{}, mute: map[string]bool{}, gossip: map[string]string{}, changed: make(chan struct{}),
		relays: map[*relay]bool{}}
}

// at notes whose gossip is at an address.
func (l *lines) at(address, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gossip[address] = name
}

func (l *lines) gossips(from, address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := l.gossip[address]
	return l.sides[from] == l.sides[to] && !l.mute[from] && !l.mute[to]
}

func (l *lines) announceLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// split cuts the nodes that are named off from all others.
func (l *lines) split(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		l.sides[name] = 1
	}
	l.announceLocked()
}

// freeze holds up the connections that there are between two nodes, and none that are made later.
func (l *lines) freeze(a, b string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.relays {
		if r.from == a && r.to == b || r.from == b && r.to == a {
			r.frozen = true
		}
	}
	l.announceLocked()
}

// hush loses the gossip of a node, and nothing else.
func (l *lines) hush(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute[name] = true
}

// heal undoes split, freeze and hush.
func (l *lines) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.sides)
	clear(l.mute)
	for r := range l.relays {
		r.frozen = false
	}
	l.announceLocked()
}

func (l *lines) close() {
	l.mu.Lock()
	l.done = true
	for r := range l.relays {
		for _, end := range r.ends {
			end.Close()
		}
	}
	l.announceLocked()
	l.mu.Unlock()
	l.tasks.Wait()
}

var errLinesClosed = errors.New("the test is over")

// pass waits until something gets from one node to another.
func (l *lines) pass(ctx context.Context, r *relay) error {
	for {
		l.mu.Lock()
		open, done, changed := l.sides[r.from] == l.sides[r.to] && !r.frozen, l.done, l.changed
		l.mu.Unlock()
		switch {
		case done:
			return errLinesClosed
		case open:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// linesNetwork dials over the lines.
type linesNetwork struct {
	transport.Network
	lines *lines
	name  string
}

func (n *linesNetwork) Dial(ctx context.Context, peer transport.VatID, addrs []string) (transport.Conn, error) {
	to := n.lines.called(peer)
	if err := n.lines.pass(ctx, &relay{from: n.name, to: to}); err != nil {
		return nil, err
	}
	over := make([]string, len(addrs))
	for i, addr := range addrs {
		hostport, err := n.lines.open(n.name, to, strings.TrimPrefix(addr, "tcp!"))
		if err != nil {
			return nil, err
		}
		over[i] = "tcp!" + hostport
	}
	return n.Network.Dial(ctx, peer, over)
}

// open makes an address for one connection to hostport.
func (l *lines) open(from, to, hostport string) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	r := &relay{from: from, to: to}
	if !l.add(r, ln) {
		return "", errLinesClosed
	}
	l.tasks.Go(func() {
		defer l.remove(r)
		here, err := ln.Accept()
		ln.Close()
		if err != nil || !l.add(r, here) {
			return
		}
		there, err := net.Dial("tcp", hostport)
		if err != nil || !l.add(r, there) {
			return
		}
		var pumps sync.WaitGroup
		pumps.Go(func() { l.pump(r, here.(*net.TCPConn), there.(*net.TCPConn)) })
		l.pump(r, there.(*net.TCPConn), here.(*net.TCPConn))
		pumps.Wait()
	})
	return ln.Addr().String(), nil
}

// add has the end of a relay closed with the lines; it closes it now, and returns false, where they are.
func (l *lines) add(r *relay, end io.Closer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		end.Close()
		return false
	}
	l.relays[r] = true
	r.ends = append(r.ends, end)
	return true
}

func (l *lines) remove(r *relay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range r.ends {
		end.Close()
	}
	delete(l.relays, r)
}

// pump carries one direction, its end included.
func (l *lines) pump(r *relay, from, to *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if l.pass(context.Background(), r) != nil {
			return
		}
		if _, werr := to.Write(buf[:n]); werr != nil {
			from.Close()
			return
		}
		if err == io.EOF {
			to.CloseWrite()
			return
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
