package cluster

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// gossip is the ear of a node: what memberlist calls. It calls all of it with its own lock held, so nothing here
// may call back into memberlist, or wait for someone who does.
type gossip struct {
	node *Node
	meta []byte // of this node; never changed

	// states is set once memberlist has been created, which starts to listen a little earlier. A member
	// that departs in between counts as failed.
	states atomic.Pointer[stateReader]
}

// NodeMeta implements memberlist.Delegate. The limit has been seen to when the node started.
func (g *gossip) NodeMeta(int) []byte { return g.meta }

// NotifyMsg implements memberlist.Delegate: this package sends no user messages and reads none.
func (g *gossip) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (g *gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (g *gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (g *gossip) MergeRemoteState([]byte, bool) {}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps the announcement out, as if it had
// never been received. What passes has been verified.
func (g *gossip) NotifyAlive(peer *memberlist.Node) error {
	if peer.Name == g.node.name {
		// About this node nobody is believed, and nobody may be ignored either: memberlist answers an old or false
		// announcement with a newer one, without which a restarted node would stay unheard.
		return nil
	}
	return g.node.admit(peer)
}

// NotifyJoin implements memberlist.EventDelegate, for a member that NotifyAlive has just passed.
func (g *gossip) NotifyJoin(peer *memberlist.Node) { g.node.join(peer) }

// NotifyUpdate implements memberlist.EventDelegate, likewise.
func (g *gossip) NotifyUpdate(peer *memberlist.Node) { g.node.join(peer) }

// NotifyLeave implements memberlist.EventDelegate, for members that left and that failed alike.
func (g *gossip) NotifyLeave(peer *memberlist.Node) {
	state := Failed
	if states := g.states.Load(); states != nil && states.left(peer.Name) {
		state = Left
	}
	g.node.depart(peer, state)
}

// NotifyConflict implements memberlist.ConflictDelegate: other, which NotifyAlive has just passed, bears a name that
// existing holds at another gossip address. memberlist keeps the one it has until that is found to be dead.
func (g *gossip) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name == g.node.name {
		g.node.contest(other)
	} else {
		g.node.supersede(other)
	}
}

// decodePeer reads what a member announces. Its error is a *Refusal.
func decodePeer(peer *memberlist.Node) (*announcement, error) {
	a, err := decodeAnnouncement(peer.Name, gossipAddress(peer), peer.Meta)
	if err != nil {
		return nil, &Refusal{Cause: Malformed, Name: peer.Name, Detail: err.Error()}
	}
	return a, nil
}

// gossipAddress returns the zero value for an address that is none; a stranger chose it.
func gossipAddress(peer *memberlist.Node) netip.AddrPort {
	ip, ok := netip.AddrFromSlice(peer.Addr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip.Unmap(), peer.Port)
}

// memberlistConfig turns a validated Config into memberlist's. Where and as whom to listen is in t.
func memberlistConfig(cfg *Config, g *gossip, t memberlist.Transport, at netip.AddrPort) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = cfg.Name
	c.Label = gossipLabel
	c.Transport = t
	c.BindAddr, c.BindPort = at.Addr().String(), int(at.Port())
	c.AdvertiseAddr, c.AdvertisePort = at.Addr().String(), int(at.Port())
	c.Keyring = g.node.keyring
	if cfg.local() {
		// Nobody can make this node send packets off the machine by announcing a member elsewhere.
		c.CIDRsAllowed, _ = memberlist.ParseCIDRs([]string{"127.0.0.0/8", "::1/128"})
	}
	c.ProbeInterval, c.ProbeTimeout = cfg.Timing.ProbeInterval, cfg.Timing.ProbeTimeout
	c.SuspicionMult = cfg.Timing.SuspicionMult
	c.GossipInterval = cfg.Timing.GossipInterval
	c.PushPullInterval = cfg.Timing.PushPullInterval
	c.TCPTimeout = cfg.Timing.StreamTimeout
	c.GossipToTheDeadTime = cfg.Timing.DeadTime
	c.AwarenessMaxMultiplier = cfg.Timing.MaxSlowdown
	// The default leaves one of some three thousand without a piece of news, in a cluster of fifty.
	c.RetransmitMult = 6
	// A vat that crashed comes back on another port at once. Whose name it is, the directory decides.
	c.DeadNodeReclaimTime = time.Nanosecond
	c.Delegate, c.Events, c.Alive, c.Conflict = g, g, g, g
	c.Logger = newLog(cfg.Logger)
	return c
}

// gossipLabel keeps members of other software that uses memberlist apart.
const gossipLabel = "vatwork/1"
