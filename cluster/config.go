package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/vatwork/vatwork/transport"
)

// Config says who the node is and how it gossips. Start copies it.
type Config struct {
	// ID is the vat that this node speaks for. All nodes of a cluster have keys, or all are plain.
	ID transport.VatID

	// Name is the member name, unique in the cluster: 1 to 64 visible ASCII characters without "/".
	Name string

	// Addresses is where the vat listens, each as "network!address", the best first. At most 16; together
	// they have to fit a gossip packet of 512 bytes, which takes about eight. Empty for a vat that only dials.
	Addresses []string

	// Bind is the IP and port of the gossip, over UDP and TCP, where the others reach this node. Port 0
	// takes a free one. Empty means "127.0.0.1:0". Anything but loopback needs Key, or Open.
	Bind string

	// Join lists gossip addresses ("host:port") of members to find the cluster by. One that answers is
	// enough; the others are asked again and again, as are members that have failed. Empty starts a cluster.
	Join []string

	// KeepTrying has Start succeed also where none of Join answers: the node is alone until one does.
	KeepTrying bool

	// Keys encrypt the gossip, of 16, 24 or 32 bytes each, at most 8: the first encrypts, each decrypts. See
	// LoadKeys for those in a file, SetKeys for changing them. None: the gossip is in the clear.
	Keys [][]byte

	// Open says in so many words that the gossip may leave this machine without Keys: then whoever reaches it
	// is a member.
	Open bool

	// Admission, if not nil, admits the members that this node knows.
	Admission *Admission

	// Sign makes an Ed25519 signature with the vat's key. It is called once, by Start. Needed for an ID
	// that is a key, unused for a plain one.
	Sign func([]byte) []byte

	// Seq grows with each start of the vat: the others ignore what is not newer than what they have seen. 0
	// takes the time in nanoseconds; a vat whose clock was set back has to give a greater number here.
	Seq uint64

	// OnFailed is called when a member was declared failed, and when a newer run of it appears before that, OnLeave
	// when it said goodbye, OnJoin when it appears. Any member can make up the first two of any other: OnFailed
	// is for Vat.Suspect, which has the peer prove that it lives, rather than for Vat.EndSession. Each may be nil. They are called one at a time; one that blocks holds up the next, and
	// after 256 of those the gossip itself. They must not call Close, which waits for them.
	OnFailed func(id transport.VatID, reason string)
	OnJoin   func(id transport.VatID)
	OnLeave  func(id transport.VatID)

	// Logger takes what goes wrong with peers, and memberlist's own log. nil means slog.Default.
	Logger *slog.Logger

	// Timing sets the pace. The zero value means LocalTiming on loopback and LANTiming elsewhere.
	Timing Timing

	// reaches, if not nil, reports whether the network carries gossip to an address: a test splits it by that.
	reaches func(address string) bool
}

// Timing is the pace of the gossip. Shorter finds failures sooner, and declares busy members failed more often.
type Timing struct {
	ProbeInterval    time.Duration // between probes of a member
	ProbeTimeout     time.Duration // until a probe counts as missed; less than ProbeInterval
	SuspicionMult    int           // suspicion lasts this many probe intervals, times log10 of the cluster's size
	GossipInterval   time.Duration // between packets of news
	PushPullInterval time.Duration // between full exchanges with some member
	StreamTimeout    time.Duration // to connect to a member, and to exchange over the connection
	DeadTime         time.Duration // for which members that are gone are still gossiped to
	MaxSlowdown      int           // a node that finds itself slow stretches its probes by up to this factor; at least 1
}

// LocalTiming suits nodes on one machine: a failure shows in some three to twenty seconds.
func LocalTiming() Timing {
	t := timingOf(memberlist.DefaultLocalConfig())
	t.PushPullInterval = 5 * time.Second
	return t
}

// LANTiming suits nodes in one network: a failure shows in some four to thirty seconds.
func LANTiming() Timing {
	return timingOf(memberlist.DefaultLANConfig())
}

func timingOf(c *memberlist.Config) Timing {
	return Timing{
		ProbeInterval:    c.ProbeInterval,
		ProbeTimeout:     c.ProbeTimeout,
		SuspicionMult:    c.SuspicionMult,
		GossipInterval:   c.GossipInterval,
		PushPullInterval: c.PushPullInterval,
		StreamTimeout:    c.TCPTimeout,
		DeadTime:         c.GossipToTheDeadTime,
		MaxSlowdown:      c.AwarenessMaxMultiplier,
	}
}

// A ConfigError names the field of Config that Start cannot work with, and says what to do.
type ConfigError struct {
	Field  string
	Advice string
}

// Error implements error.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("cluster: Config.%s: %s", e.Field, e.Advice)
}

// validate returns a copy of c that owns its slices and has its defaults filled in, and the address to
// bind. Its errors are *ConfigError.
func (c Config) validate(now time.Time) (Config, netip.AddrPort, error) {
	bad := func(field, format string, args ...any) (Config, netip.AddrPort, error) {
		return Config{}, netip.AddrPort{}, &ConfigError{Field: field, Advice: fmt.Sprintf(format, args...)}
	}
	if _, err := transport.ParseVatID(string(c.ID)); err != nil {
		return bad("ID", "%v", err)
	}
	if err := checkName(c.Name); err != nil {
		return bad("Name", "%v", err)
	}
	if !c.ID.IsPlain() && c.Sign == nil {
		return bad("Sign", "an Ed25519 id has to prove itself: set the Sign method of its identity")
	}
	if len(c.Addresses) > maxAddresses {
		return bad("Addresses", "%d addresses, at most %d are allowed: leave out the least useful", len(c.Addresses), maxAddresses)
	}
	for _, address := range c.Addresses {
		if err := checkAddress(address); err != nil {
			return bad("Addresses", "%v", err)
		}
	}
	if err := checkKeys(c.Keys); err != nil {
		return bad("Keys", "%v", err)
	}
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	bind, err := c.checkBind()
	if err != nil {
		return bad("Bind", "%v", err)
	}
	for _, address := range c.Join {
		if err := c.checkJoin(address); err != nil {
			return bad("Join", "%v", err)
		}
	}
	if c.Timing == (Timing{}) {
		c.Timing = LANTiming()
		if bind.Addr().IsLoopback() {
			c.Timing = LocalTiming()
		}
	}
	if err := c.Timing.check(); err != nil {
		return bad("Timing", "%v", err)
	}
	if c.Seq == 0 {
		c.Seq = uint64(now.UnixNano())
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Addresses, c.Join, c.Keys = slices.Clone(c.Addresses), slices.Clone(c.Join), slices.Clone(c.Keys)
	for i, key := range c.Keys {
		c.Keys[i] = slices.Clone(key)
	}
	return c, bind, nil
}

func (c Config) checkBind() (netip.AddrPort, error) {
	bind, err := netip.ParseAddrPort(c.Bind)
	if err != nil || bind.Addr().Zone() != "" {
		return bind, fmt.Errorf("%q: want an IP address and a port, such as 127.0.0.1:0", c.Bind)
	}
	bind = netip.AddrPortFrom(bind.Addr().Unmap(), bind.Port())
	if bind.Addr().IsUnspecified() {
		return bind, fmt.Errorf("%s is no address that others could reach: bind the one that they use", c.Bind)
	}
	if c.local() && !bind.Addr().IsLoopback() {
		return bind, fmt.Errorf("%s is not loopback, and without a key anyone could join: set Keys, or bind 127.0.0.1", c.Bind)
	}
	return bind, nil
}

// local reports whether the gossip has to stay on this machine.
func (c Config) local() bool { return len(c.Keys) == 0 && !c.Open }

func (c Config) checkJoin(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return fmt.Errorf("%q: want the host and port of a member's gossip, such as 127.0.0.1:7946", address)
	}
	if ip, err := netip.ParseAddr(host); err == nil && c.local() && !ip.Unmap().IsLoopback() {
		return fmt.Errorf("%s is not loopback, and without a key this node talks to no other machine: set Keys", address)
	}
	return nil
}

func (t Timing) check() error {
	if t.ProbeInterval <= 0 || t.ProbeTimeout <= 0 || t.GossipInterval <= 0 || t.PushPullInterval <= 0 ||
		t.StreamTimeout <= 0 || t.DeadTime <= 0 || t.SuspicionMult <= 0 || t.MaxSlowdown <= 0 {
		return errors.New("every field has to be positive: start from LocalTiming or LANTiming")
	}
	if t.ProbeTimeout >= t.ProbeInterval {
		return fmt.Errorf("a ProbeTimeout of %v has to be less than the ProbeInterval, %v", t.ProbeTimeout, t.ProbeInterval)
	}
	return nil
}
