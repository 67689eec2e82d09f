package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/cmd/node/internal/config"
	"github.com/vatwork/vatwork/cmd/node/internal/control"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/names"
)

// Node is a node that runs. Its methods may be called from any goroutine.
type Node struct {
	cfg     config.Config
	log     *slog.Logger
	started time.Time

	folder    *folder
	key       *transport.Identity
	admission *cluster.Admission // nil: any vat may connect
	network   transport.Network
	registry  *names.Registry
	member    atomic.Pointer[cluster.Node] // nil until it has joined
	vat       *vat.Vat
	running   atomic.Pointer[vat.Vat] // vat, for callbacks that may come before it is made
	control   net.Listener
	metrics   *metrics // nil: none
	tasks     sync.WaitGroup
	failed    chan error // of what runs beside the vat
}

// Start starts a node. cfg has come from config.Load. ctx bounds Start alone.
func Start(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *Node, err error) {
	n := &Node{cfg: cfg, log: log, started: time.Now(), failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.tearDown())
		}
	}()
	files, err := cfg.ReadFiles()
	if err != nil {
		return nil, err
	}
	if n.folder, err = openFolder(cfg.Data); err != nil {
		return nil, err
	}
	if n.key, err = transport.LoadIdentity(filepath.Join(cfg.Data, keyName)); err != nil {
		return nil, err
	}
	epoch, err := transport.NextEpoch(filepath.Join(cfg.Data, epochName))
	if err != nil {
		return nil, err
	}
	if err := n.listen(epoch, files); err != nil {
		return nil, err
	}
	n.registry = names.New(names.Config{ID: n.key.ID(), Name: cfg.Name, Epoch: epoch, Member: n.memberName, Logger: log})
	if err := n.join(ctx, epoch, files); err != nil {
		return nil, err
	}
	if n.vat, err = vat.New(vat.Config{Network: n.network, Directory: n.member.Load(), BootstrapFor: n.bootstrapFor, Logger: log}); err != nil {
		return nil, err
	}
	n.running.Store(n.vat)
	n.registry.Start(n.vat)
	if err := n.serve(); err != nil {
		return nil, err
	}
	log.Info("node runs", "name", cfg.Name, "id", string(n.key.ID()), "listen", n.network.Addrs(), "gossip", n.member.Load().GossipAddr())
	return n, nil
}

// listen opens the network.
func (n *Node) listen(epoch uint64, files config.Files) error {
	tcfg := transport.Config{Name: n.cfg.Name, Epoch: epoch, Logger: n.log}
	if !n.cfg.Open {
		n.admission = cluster.NewAdmission(files.Allowed...)
		tcfg.Admit = n.admission.Admit
	}
	var err error
	n.network, err = transport.ListenTLS(n.cfg.Listen, n.key, tcfg)
	return explain("--listen", n.cfg.Listen, err)
}

// join makes the node a member.
func (n *Node) join(ctx context.Context, epoch uint64, files config.Files) error {
	member, err := cluster.Start(ctx, cluster.Config{
		ID:         n.key.ID(),
		Name:       n.cfg.Name,
		Addresses:  n.network.Addrs(),
		Bind:       n.cfg.Gossip,
		Join:       n.cfg.Join,
		KeepTrying: true,
		Keys:       files.GossipKeys,
		Open:       n.cfg.Open,
		Admission:  n.admission,
		Sign:       n.key.Sign,
		Seq:        epoch,
		OnJoin:     n.onJoin,
		OnFailed:   n.onFailed,
		OnLeave:    n.onLeave,
		Logger:     n.log,
	})
	if err != nil {
		return explain("--gossip", n.cfg.Gossip, err)
	}
	n.member.Store(member)
	return nil
}

// explain says what to do about an address that cannot be listened on. The gossip's errors are known by their text alone:
// memberlist does not wrap them.
func explain(flag, address string, err error) error {
	is := func(errno syscall.Errno) bool {
		return errors.Is(err, errno) || err != nil && strings.Contains(err.Error(), errno.Error())
	}
	switch {
	case is(syscall.EADDRINUSE):
		return fmt.Errorf("%s %s is in use: another process listens there; stop it or choose another port (%w)", flag, address, err)
	case is(syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s %s is no address of this machine (%w)", flag, address, err)
	case is(syscall.EACCES):
		return fmt.Errorf("%s %s is not allowed to this user (%w)", flag, address, err)
	}
	return err
}

// The callbacks of the cluster do not wait for the vat: while they wait, so does the gossip.

func (n *Node) onJoin(id transport.VatID) {
	n.log.Info("member joined", "member", n.called(id), "id", string(id))
	n.registry.Joined(id)
}

func (n *Node) onFailed(id transport.VatID, reason string) {
	n.log.Warn("member failed", "member", n.called(id), "id", string(id), "reason", reason)
	n.registry.Departed(id, "has failed")
	if v := n.running.Load(); v != nil { // else there is no session yet
		v.Suspect(id, reason)
	}
}

func (n *Node) onLeave(id transport.VatID) {
	n.log.Info("member left", "member", n.called(id), "id", string(id))
	n.registry.Departed(id, "has left")
}

// memberName is what the cluster calls a vat, "" if it does not know it.
func (n *Node) memberName(id transport.VatID) string {
	if member := n.member.Load(); member != nil {
		return member.NameOf(id)
	}
	return ""
}

func (n *Node) called(id transport.VatID) string { return cmp.Or(n.memberName(id), id.Short()) }

// bootstrapFor is the directory of names; on the control socket, which is the one place where a peer without an identity
// can connect, what controls the node.
func (n *Node) bootstrapFor(peer transport.VatID) capnp.Client {
	if peer.IsTwoParty() {
		return capnp.Client(control.Control_ServerToClient(&controller{n}))
	}
	return n.registry.BootstrapFor(peer)
}

// serve opens what is for this machine.
func (n *Node) serve() (err error) {
	if n.control, err = control.Listen(n.cfg.Data); err != nil {
		return err
	}
	n.tasks.Go(func() {
		if err := n.vat.ServeTwoParty(n.control); err != nil {
			n.failed <- err
		}
	})
	if n.cfg.Metrics == "" {
		return nil
	}
	if n.metrics, err = serveMetrics(n); err != nil {
		return explain("--metrics", n.cfg.Metrics, err)
	}
	return nil
}

// Failed gets what ends the node without having been told.
func (n *Node) Failed() <-chan error { return n.failed }

// Reload reads the gossip keys and the list of those who may connect anew.
func (n *Node) Reload() error {
	files, err := n.cfg.ReadFiles()
	if err != nil {
		return err
	}
	if n.cfg.GossipKey != "" {
		if err := n.member.Load().SetKeys(files.GossipKeys...); err != nil {
			return fmt.Errorf("--gossip-key: %w", err)
		}
	}
	if n.admission != nil {
		n.admission.Allow(files.Allowed...)
	}
	n.log.Info("gossip keys and list of allowed vats read again", "keys", len(files.GossipKeys), "allowed", len(files.Allowed))
	return nil
}

// Stop ends the node: it leaves the cluster, so that nobody comes any more; from then on takes no new sessions, and lets
// calls in flight finish, for as long as grace; and returns when everything has ended. Errors are about what did not
// end as it should; that calls were cut off is logged.
func (n *Node) Stop(grace time.Duration) error {
	n.log.Info("node stops", "grace", grace)
	leave := n.member.Load().Leave(context.Background())
	n.registry.Close()
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := n.vat.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		n.log.Warn("calls in flight were cut off", "grace", grace)
		err = nil
	}
	return errors.Join(leave, err, n.tearDown())
}

// tearDown ends what there is, without waiting for calls.
func (n *Node) tearDown() error {
	var errs []error
	if n.metrics != nil {
		errs = append(errs, n.metrics.close())
	}
	if n.registry != nil {
		n.registry.Close()
	}
	switch {
	case n.vat != nil:
		errs = append(errs, n.vat.Close()) // and with it the network and the control socket
	case n.network != nil:
		errs = append(errs, n.network.Close())
	}
	if member := n.member.Load(); member != nil {
		errs = append(errs, member.Close())
	}
	n.tasks.Wait()
	if n.folder != nil {
		errs = append(errs, n.folder.close())
	}
	return errors.Join(errs...)
}
