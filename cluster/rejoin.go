package cluster

import (
	"time"
)

// rejoin goes on asking for members that are lost, one after the other, until the node leaves or closes. memberlist
// gossips to the dead for a while only: two halves of a network that was split for longer would never meet again.
func (n *Node) rejoin(every time.Duration, seeds []string) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ticker.C:
		case <-n.closing:
			return
		case <-n.leaving:
			return
		}
		lost := n.lost(seeds)
		if len(lost) == 0 {
			continue
		}
		address := lost[turn%len(lost)]
		if _, err := n.list.Join([]string{address}); err == nil {
			n.logger.Info("cluster: met again, or for the first time, who was not to be reached", "at", address)
		}
	}
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
