package cluster

import "fmt"

// maxEvents bounds the changes that wait for a callback to return. Beyond it memberlist waits too: a
// failure must not be dropped, or a session would live on with a dead peer.
const maxEvents = 256

// event is a change with the text for OnFailed.
type event struct {
	change
	reason string
}

// post queues an event for the callbacks, in the order of the calls; the caller holds memberlist's lock. Once the
// node closes, events are dropped.
func (n *Node) post(e event) {
	select {
	case n.events <- e:
	case <-n.closing:
	}
}

// dispatch calls the callbacks until the node closes.
func (n *Node) dispatch() {
	for {
		select {
		case <-n.closing:
			return
		case e := <-n.events:
			n.deliver(e)
		}
	}
}

func (n *Node) deliver(e event) {
	// Of two ready cases select takes either: nothing is delivered once Close has begun.
	select {
	case <-n.closing:
		return
	default:
	}
	switch e.state {
	case Alive:
		if n.onJoin != nil {
			n.onJoin(e.id)
		}
	case Failed:
		if n.onFailed != nil {
			n.onFailed(e.id, e.reason)
		}
	case Left:
		if n.onLeave != nil {
			n.onLeave(e.id)
		}
	}
}

func failureReason(name string, gossip fmt.Stringer) string {
	return fmt.Sprintf("cluster: member %s no longer answers at %s", name, gossip)
}

func restartReason(name string) string {
	return fmt.Sprintf("cluster: member %s has been started anew", name)
}
