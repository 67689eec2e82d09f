package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// AdmissionPatience is how long a vat that nobody knows yet is kept waiting: the news of a member that has just
// joined may come later than the member itself. Meanwhile other members are asked for it.
const AdmissionPatience = 5 * time.Second

// ErrNotAdmitted is what Admit refuses with.
var ErrNotAdmitted = errors.New("cluster: neither a member of this vat's cluster nor on its list of allowed keys: " +
	"join the cluster, by its gossip key and the address of a member, or have the key allowed")

// An Admission decides who may have a session with a vat: the members of its cluster, and the vats on a list.
// Its Admit is made for transport.Config, which has to be there before the node is: so it comes first, is given to
// the network, and then to Start, in Config.Admission. Until then the list alone counts.
//
// A member is admitted as long as it is alive, and for [NameHold] after: one that leaves finishes what it has
// begun, and one that was given up by mistake is not locked out while it says so. Methods may be called from
// any goroutine.
type Admission struct {
	mu      sync.Mutex
	allowed map[transport.VatID]bool
	node    *Node
	changed chan struct{} // closed and replaced whenever allowed or node changes
	refused uint64
}

// NewAdmission returns one that admits, besides members, the vats that are listed.
func NewAdmission(allow ...transport.VatID) *Admission {
	a := &Admission{changed: make(chan struct{})}
	a.Allow(allow...)
	return a
}

// Allow replaces the list. It ends no session.
func (a *Admission) Allow(ids ...transport.VatID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allowed = make(map[transport.VatID]bool, len(ids))
	for _, id := range ids {
		a.allowed[id] = true
	}
	a.announceLocked()
}

// follow has the members that n knows of admitted.
func (a *Admission) follow(n *Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.node = n
	a.announceLocked()
}

func (a *Admission) announceLocked() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// Admit returns nil once peer is known as someone to be admitted, or ErrNotAdmitted, wrapped, when it is still
// unknown after [AdmissionPatience], or when ctx ends.
func (a *Admission) Admit(ctx context.Context, peer transport.VatID) error {
	ctx, cancel := context.WithTimeout(ctx, AdmissionPatience)
	defer cancel()
	again := time.NewTicker(askEvery)
	defer again.Stop()
	for {
		admitted, changed, gossip := a.look(peer)
		if admitted {
			return nil
		}
		select {
		case <-changed:
		case <-gossip:
		case <-again.C:
		case <-ctx.Done():
			a.mu.Lock()
			defer a.mu.Unlock()
			a.refused++
			return fmt.Errorf("%w (waited for news of it: %w)", ErrNotAdmitted, ctx.Err())
		}
	}
}

// look reports whether peer is to be admitted, and else when to look again.
func (a *Admission) look(peer transport.VatID) (admitted bool, changed, gossip <-chan struct{}) {
	a.mu.Lock()
	admitted, changed = a.allowed[peer], a.changed
	n := a.node
	a.mu.Unlock()
	if admitted || n == nil {
		return admitted, changed, nil
	}
	n.mu.RLock()
	admitted, gossip = n.dir.welcome(peer, time.Now()), n.changed
	n.mu.RUnlock()
	if !admitted {
		select {
		case n.doubt <- struct{}{}:
		default:
		}
	}
	return admitted, changed, gossip
}

// Refused returns how often a vat was refused.
func (a *Admission) Refused() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}
