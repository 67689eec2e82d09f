package node

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/cmd/node/internal/control"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/names"
)

// controller serves the control socket.
type controller struct{ *Node }

// Status implements control.Control.
func (c *controller) Status(_ context.Context, call control.Control_status) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	s, err := results.NewStatus()
	if err != nil {
		return err
	}
	s.SetStarted(c.started.UnixNano())
	s.SetProcess(uint32(os.Getpid()))
	if err := s.SetId(string(c.key.ID())); err != nil {
		return err
	}
	if err := s.SetName(c.cfg.Name); err != nil {
		return err
	}
	if err := s.SetGossip(c.member.Load().GossipAddr()); err != nil {
		return err
	}
	return setTexts(s.NewAddresses, c.network.Addrs())
}

func setTexts(list func(int32) (capnp.TextList, error), texts []string) error {
	to, err := list(int32(len(texts)))
	if err != nil {
		return err
	}
	for i, text := range texts {
		if err := to.Set(i, text); err != nil {
			return err
		}
	}
	return nil
}

// Members implements control.Control.
func (c *controller) Members(_ context.Context, call control.Control_members) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	members := c.member.Load().Members()
	list, err := results.NewMembers(int32(len(members)))
	if err != nil {
		return err
	}
	for i, m := range members {
		to := list.At(i)
		to.SetSelf(m.ID == c.key.ID())
		if err := to.SetName(m.Name); err != nil {
			return err
		}
		if err := to.SetId(string(m.ID)); err != nil {
			return err
		}
		if err := to.SetState(m.State.String()); err != nil {
			return err
		}
		if err := setTexts(to.NewAddresses, m.Addresses); err != nil {
			return err
		}
	}
	return nil
}

// find is the member of that name.
func (c *controller) find(name string) (cluster.Member, bool) {
	for _, m := range c.member.Load().Members() {
		if m.Name == name {
			return m, true
		}
	}
	return cluster.Member{}, false
}

// Ping implements control.Control.
func (c *controller) Ping(ctx context.Context, call control.Control_ping) error {
	name, err := call.Args().Member()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	m, found := c.find(name)
	if !found {
		return nil
	}
	call.Go()
	directory, err := c.directory(ctx, m)
	if err != nil {
		return err
	}
	defer directory.Release()
	if err := identify(ctx, directory); err != nil { // also makes the session, if there is none
		return err
	}
	sent := time.Now()
	if err := identify(ctx, directory); err != nil {
		return err
	}
	results.SetNanoseconds(uint64(time.Since(sent)))
	results.SetFound(true)
	return results.SetId(string(m.ID))
}

func identify(ctx context.Context, d names.Directory) error {
	answer, release := d.Identify(ctx, nil)
	defer release()
	_, err := answer.Struct()
	return err
}

// directory is that of a member, or the node's own. The caller releases it.
func (c *controller) directory(ctx context.Context, m cluster.Member) (names.Directory, error) {
	switch {
	case m.ID == c.key.ID():
		return c.registry.Local(), nil
	case m.State != cluster.Alive:
		return names.Directory{}, exc.New(exc.Disconnected, "", "member "+m.Name+" has "+m.State.String())
	}
	return names.Directory(c.vat.Bootstrap(ctx, m.ID)), nil
}

// Tree implements control.Control.
func (c *controller) Tree(_ context.Context, call control.Control_tree) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go() // what asks the session that this call came by
	text, err := json.Marshal(c.vat.Tree())
	if err != nil {
		return err
	}
	return results.SetJson(string(text))
}

// Directory implements control.Control.
func (c *controller) Directory(ctx context.Context, call control.Control_directory) error {
	name, err := call.Args().Member()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	m, found := cluster.Member{ID: c.key.ID()}, true
	if name != "" {
		m, found = c.find(name)
	}
	results.SetFound(found)
	if !found {
		return nil
	}
	directory, err := c.directory(context.WithoutCancel(ctx), m)
	if err != nil {
		return err
	}
	return results.SetDirectory(directory)
}

// Host implements control.Control.
func (c *controller) Host(ctx context.Context, call control.Control_host) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	overwrite := call.Args().Overwrite()
	call.Go()
	if r := c.registry.Describe(ctx, name); r.State != names.Absent && r.Holder == c.key.ID() && !overwrite {
		return exc.New(exc.Failed, "", "this node has published something under the name "+strconv.Quote(name)+" already")
	}
	g, err := spawnGreeter(c.vat, c.cfg.Name)
	if err != nil {
		return err
	}
	return c.registry.Publish(ctx, name, capnp.Client(g))
}

// Withdraw implements control.Control.
func (c *controller) Withdraw(ctx context.Context, call control.Control_withdraw) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go()
	found, err := c.registry.Withdraw(ctx, name, c.key.ID())
	results.SetFound(found)
	return err
}

var _ control.Control_Server = (*controller)(nil)
var _ vat.Directory = (*cluster.Node)(nil)
