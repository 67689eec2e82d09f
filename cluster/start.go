package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Start makes a node and joins the cluster. When it returns, the members that the contacted ones know are
// in the directory; the rest of the cluster may not know this node yet. Callbacks may come before it returns. ctx
// bounds Start alone; each address of Join may take the StreamTimeout.
//
// Errors: *ConfigError; *Refusal with NameTaken, if another vat has this Name; else what the network says.
// Then nothing is left behind.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	now := time.Now()
	cfg, bind, err := cfg.validate(now)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cluster: start: %w", err)
	}
	sock, at, err := listen(bind, cfg.Logger)
	if err != nil {
		return nil, err
	}
	self, meta, err := introduce(&cfg, at)
	if err != nil {
		return nil, errors.Join(err, discard(sock))
	}
	n := newNode(&cfg, self, now)
	n.tasks.Go(n.dispatch)
	g := &gossip{node: n, meta: meta}
	ctxOfStreams, hangUp := context.WithCancel(context.Background())
	n.hangUp = hangUp
	if len(cfg.Keys) > 0 {
		// The first is added first, and so is the one that encrypts. They have been checked.
		n.keyring, err = memberlist.NewKeyring(cfg.Keys[1:], cfg.Keys[0])
	}
	if err == nil {
		n.list, err = memberlist.Create(memberlistConfig(&cfg, g, &socket{sock, ctxOfStreams, cfg.reaches}, at))
	}
	if err != nil {
		n.stop()
		return nil, errors.Join(fmt.Errorf("cluster: start: %w", err), discard(sock))
	}
	if cfg.Admission != nil {
		cfg.Admission.follow(n)
	}
	giveUp := context.AfterFunc(ctx, hangUp)
	err = n.enter(ctx, g, &cfg)
	if !giveUp() && err == nil {
		err = fmt.Errorf("cluster: join: %w", ctx.Err())
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.tasks.Go(func() { n.rejoin(cfg.Timing.PushPullInterval, cfg.Join) })
	return n, nil
}

func newNode(cfg *Config, self *announcement, now time.Time) *Node {
	return &Node{
		name:     self.name,
		id:       self.id,
		at:       self.gossip,
		logger:   cfg.Logger,
		onFailed: cfg.OnFailed,
		onJoin:   cfg.OnJoin,
		onLeave:  cfg.OnLeave,
		events:   make(chan event, maxEvents),
		closing:  make(chan struct{}),
		leaving:  make(chan struct{}),
		hangUp:   func() {},
		doubt:    make(chan struct{}, 1),
		dir:      newDirectory(self, maxVats, now),
		changed:  make(chan struct{}),
		refused:  make(map[Cause]uint64),
		finished: make(chan struct{}),
	}
}

// enter joins the cluster by the first members that answer.
func (n *Node) enter(ctx context.Context, g *gossip, cfg *Config) error {
	states, err := newStateReader(n.list)
	if err != nil {
		return err
	}
	g.states.Store(states)
	var failures []error
	for _, address := range cfg.Join {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cluster: join: %w", errors.Join(append(failures, err)...))
		}
		if _, err := n.list.Join([]string{address}); err != nil {
			failures = append(failures, err)
		}
	}
	if len(cfg.Join) > 0 && len(failures) == len(cfg.Join) {
		err := fmt.Errorf("cluster: join: none of %d members answered: %w", len(cfg.Join), errors.Join(failures...))
		if !cfg.KeepTrying {
			return err
		}
		n.logger.Warn("cluster: alone for now, and trying again", "every", cfg.Timing.PushPullInterval, "error", err)
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.contested != nil {
		return n.contested
	}
	return nil
}

// introduce makes and signs this node's announcement, and checks that it can be gossiped and believed.
func introduce(cfg *Config, at netip.AddrPort) (*announcement, []byte, error) {
	self := &announcement{name: cfg.Name, gossip: at, id: cfg.ID, addresses: cfg.Addresses, seq: cfg.Seq}
	if !cfg.ID.IsPlain() {
		self.signature = cfg.Sign(self.statement())
		if err := self.verify(); err != nil {
			return nil, nil, &ConfigError{"Sign", fmt.Sprintf("it does not sign for %s: %v", cfg.ID, err)}
		}
	}
	meta, err := self.encode()
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: announcement: %w", err)
	}
	// memberlist panics beyond.
	if len(meta) > maxMetadataBytes {
		return nil, nil, &ConfigError{"Addresses", fmt.Sprintf(
			"the announcement takes %d bytes and gossip carries %d: use fewer or shorter addresses", len(meta), maxMetadataBytes)}
	}
	return self, meta, nil
}

// listen opens the gossip's sockets. memberlist could do that itself; but the announcement signs the
// address, and so has to be made after the port is known and before memberlist starts.
func listen(bind netip.AddrPort, logger *slog.Logger) (*memberlist.NetTransport, netip.AddrPort, error) {
	// UDP and TCP need the same port. One that is free for TCP may be taken for UDP: then another is tried,
	// where there is a choice.
	tries := 1
	if bind.Port() == 0 {
		tries = 10
	}
	var failure error
	for range tries {
		socket, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{bind.Addr().String()},
			BindPort:  int(bind.Port()),
			Logger:    newLog(logger),
		})
		if err == nil {
			return socket, netip.AddrPortFrom(bind.Addr(), uint16(socket.GetAutoBindPort())), nil
		}
		failure = err
	}
	return nil, netip.AddrPort{}, fmt.Errorf("cluster: listen: %w", failure)
}

// discard closes sockets that no memberlist reads: Shutdown waits for its listeners, which wait for
// somebody to take what they have received.
func discard(socket *memberlist.NetTransport) error {
	stop := make(chan struct{})
	var drain sync.WaitGroup
	drain.Go(func() {
		for {
			select {
			case <-socket.PacketCh():
			case conn := <-socket.StreamCh():
				// Nobody has read from it: there is nothing that closing could lose.
				_ = conn.Close()
			case <-stop:
				return
			}
		}
	})
	err := socket.Shutdown()
	close(stop)
	drain.Wait()
	return err
}
