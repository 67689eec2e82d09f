package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/vatwork/vatwork/transport"
)

// ErrClosed is returned by what cannot be done on a closed node.
var ErrClosed = errors.New("cluster: node closed")

// leaveTimeout bounds how long a goodbye may take to go out, and so how long Close may wait for one.
const leaveTimeout = 5 * time.Second

// Node is this process's member of a cluster. Its methods are safe for concurrent use.
//
// A node is running until it has left, and then until it is closed; Close may come without Leave, which the
// others take for a failure. A node that has left still hears the gossip and answers from it. A closed one answers
// what it knew last.
//
// Locks: memberlist calls in with a lock of its own held, and takes mu within it. So mu is never held
// while memberlist is called, nor while a callback runs.
type Node struct {
	name   string
	id     transport.VatID
	at     netip.AddrPort // of the gossip
	list   *memberlist.Memberlist
	logger *slog.Logger

	onFailed func(transport.VatID, string)
	onJoin   func(transport.VatID)
	onLeave  func(transport.VatID)
	events   chan event
	closing  chan struct{}  // closed by Close, before anything else
	leaving  chan struct{}  // closed by the first Leave
	tasks    sync.WaitGroup // dispatch, rejoin, and goodbyes under way
	hangUp   func()         // ends the streams that memberlist has opened
	doubt    chan struct{}  // of one: somebody is at the door whom nobody has announced

	keysMu  sync.Mutex          // held while keyring changes
	keyring *memberlist.Keyring // nil where the gossip is in the clear

	mu        sync.RWMutex
	dir       *directory
	changed   chan struct{} // closed and replaced whenever dir changes
	refused   map[Cause]uint64
	contested *Refusal // another vat was found to have our name

	lifecycle sync.Mutex // orders Leave before Close
	left      bool
	closed    bool
	finished  chan struct{} // closed when Close is done
}

// Addresses returns where the vat listens, the best first, and nil unless it is alive. It makes a Node a
// directory for vats.
func (n *Node) Addresses(id transport.VatID) []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if e := n.dir.live(id); e != nil {
		return slices.Clone(e.addresses)
	}
	return nil
}

// Lookup returns the vat that bears a member name, if it is alive.
func (n *Node) Lookup(name string) (transport.VatID, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if e := n.dir.names[name]; e != nil && e.state == Alive {
		return e.id, true
	}
	return "", false
}

// NameOf returns the member name of a vat, also of one that has failed or left, and "" if it is not known.
func (n *Node) NameOf(id transport.VatID) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.dir.nameOf(id)
}

// Members returns all vats of the cluster, this one included, ordered by name. Those that failed or left
// stay listed until their place is needed.
func (n *Node) Members() []Member {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.dir.members()
}

// Refused returns how many announcements were refused so far, by cause. The same announcement counts as
// often as it arrives.
func (n *Node) Refused() map[Cause]uint64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return maps.Clone(n.refused)
}

// GossipAddr returns what others put into Join, as "127.0.0.1:7946".
func (n *Node) GossipAddr() string { return n.at.String() }

// WaitFor returns nil once the directory has all of ids alive at one time. Else it returns ctx's error, with
// the ids that are missing, or ErrClosed.
func (n *Node) WaitFor(ctx context.Context, ids ...transport.VatID) error {
	for {
		n.mu.RLock()
		missing, changed := n.dir.missing(ids), n.changed
		n.mu.RUnlock()
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("cluster: still missing %s: %w", shortIDs(missing), ctx.Err())
		case <-n.closing:
			return ErrClosed
		}
	}
}

func shortIDs(ids []transport.VatID) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = id.Short()
	}
	return strings.Join(short, ", ")
}

// Leave says goodbye: the others stop handing out this vat's addresses, and do not take its end for a
// failure. It returns once the goodbye has gone out, when ctx ends, or after five seconds. A node cannot be
// taken back into the cluster: start another.
func (n *Node) Leave(ctx context.Context) error {
	timeout := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	if err := ctx.Err(); err != nil || timeout <= 0 {
		return fmt.Errorf("cluster: leave: %w", errors.Join(err, context.DeadlineExceeded))
	}
	done := make(chan error, 1)
	n.lifecycle.Lock()
	if n.closed {
		n.lifecycle.Unlock()
		return ErrClosed
	}
	if !n.left {
		n.left = true
		close(n.leaving)
	}
	// In the background, for memberlist knows no context. Close waits for it.
	n.tasks.Go(func() { done <- n.list.Leave(timeout) })
	n.lifecycle.Unlock()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("cluster: leave: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cluster: leave: %w", ctx.Err())
	}
}

// Close stops the gossip. When it returns, the ports are closed and no callback runs or will run. It may be called
// more than once, by several at a time, but not from a callback.
//
// memberlist does not wait for a probe or an exchange that is under way: its goroutine is gone after MaxSlowdown
// probe intervals, or the StreamTimeout.
func (n *Node) Close() error {
	n.lifecycle.Lock()
	if n.closed {
		n.lifecycle.Unlock()
		<-n.finished
		return nil
	}
	n.closed = true
	n.lifecycle.Unlock()
	defer close(n.finished)
	n.stop()
	if err := n.list.Shutdown(); err != nil {
		return fmt.Errorf("cluster: close: %w", err)
	}
	return nil
}

// stop ends the callbacks, and waits for the one under way and for goodbyes.
func (n *Node) stop() {
	close(n.closing)
	n.hangUp()
	n.tasks.Wait()
}

// admit verifies what a peer announces. Its error is a *Refusal, counted.
func (n *Node) admit(peer *memberlist.Node) error {
	a, err := decodePeer(peer)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		err = n.dir.admit(a, time.Now())
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		n.refused[refusal.Cause]++
	}
	return err
}

// join takes an admitted peer into the directory, or takes over what has changed of it.
func (n *Node) join(peer *memberlist.Node) {
	if peer.Name == n.name {
		return
	}
	a, err := decodePeer(peer)
	if err != nil {
		n.logger.Error("cluster: a member cannot be read that was admitted", "error", err)
		return
	}
	n.mu.Lock()
	again := n.dir.again(a)
	c, news := n.dir.join(a, time.Now())
	n.announceLocked()
	n.mu.Unlock()
	if c.id == n.id {
		return
	}
	if again {
		n.post(event{change: change{id: c.id, name: c.name, state: Failed}, reason: restartReason(c.name)})
	}
	if news || again {
		n.post(event{change: c})
	}
}

// supersede takes over a newer run of a vat, before memberlist does: that the vat itself says so is proven, and who waited
// for the former run to be given up would go on dialing it. When it is given up the vat counts as failed for the
// moment that memberlist takes to take the newer one over.
func (n *Node) supersede(peer *memberlist.Node) {
	a, err := decodePeer(peer)
	n.mu.RLock()
	again := err == nil && n.dir.again(a)
	n.mu.RUnlock()
	if again {
		n.join(peer)
	}
}

// depart takes a peer, or this node itself, out of the directory.
func (n *Node) depart(peer *memberlist.Node, state State) {
	n.mu.Lock()
	c, news := n.dir.depart(peer.Name, state, time.Now())
	n.announceLocked()
	n.mu.Unlock()
	if news && c.id != n.id {
		n.post(event{change: c, reason: failureReason(peer.Name, gossipAddress(peer))})
	}
}

// announceLocked wakes whoever waits for the directory to change. The caller holds mu.
func (n *Node) announceLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// contest hears that other bears this node's name. An earlier run of this vat, not yet declared failed, is
// no rival; nor is a claim that proves nothing.
func (n *Node) contest(other *memberlist.Node) {
	a, err := decodePeer(other)
	if err != nil || a.id.IsPlain() != n.id.IsPlain() || a.verify() != nil {
		return
	}
	if a.id == n.id {
		n.logger.Info("cluster: an earlier run of this vat is still listed", "at", a.gossip.String())
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[NameTaken]++
	n.logger.Warn("cluster: another vat has this node's name", "name", n.name, "vat", string(a.id), "at", a.gossip.String())
	n.contested = &Refusal{
		Cause: NameTaken, Name: n.name, ID: n.id,
		Detail: fmt.Sprintf("vat %s has that name, at %s: choose another, or wait until it has been gone for %v", a.id.Short(), a.gossip, NameHold),
	}
}
