package cluster

import (
	"time"
)

// askEvery is how often some member is asked, at most, who else there is: see Admission.
const askEvery = time.Second

// rejoin goes on asking for members that are lost, one after the other, until the node leaves or closes. memberlist
// gossips to the dead for a while only: two halves of a network that was split for longer would never meet again.
//
// In between it asks any member who else there is, where there is doubt: of the news of one that has joined, gossip
// brings some member none now and then, and the regular exchange may be a minute off.
func (n *Node) rejoin(every time.Duration, seeds []string) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var asked time.Time
	for turn := 0; ; turn++ {
		var addresses []string
		select {
		case <-ticker.C:
			addresses = n.lost(seeds)
		case <-n.doubt:
			if time.Since(asked) < askEvery {
				continue
			}
			asked = time.Now()
			addresses = n.anyone()
		case <-n.closing:
			return
		case <-n.leaving:
			return
		}
		if len(addresses) == 0 {
			continue
		}
		if _, err := n.list.Join([]string{addresses[turn%len(addresses)]}); err != nil {
			n.logger.Debug("cluster: a member does not answer", "error", err)
		}
	}
}

// anyone is where some live member gossips; a map has no order.
func (n *Node) anyone() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, e := range n.dir.names {
		if e.state == Alive && e.id != n.id {
			return []string{e.gossip.String()}
		}
	}
	return nil
}

// lost is where the gossip of members was that have failed, and where seeds should be: those of them that no live
// member is at.
func (n *Node) lost(seeds []string) []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	live := make(map[string]bool)
	var failed []string
	for _, e := range n.dir.names {
		switch e.state {
		case Alive:
			live[e.gossip.String()] = true
		case Failed:
			failed = append(failed, e.gossip.String())
		case Left:
		}
	}
	var lost []string
	for _, address := range append(failed, seeds...) {
		if !live[address] {
			lost = append(lost, address)
		}
	}
	return lost
}
