package names

import (
	"context"
	"fmt"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"

	"github.com/vatwork/vatwork/transport"
)

// A door is the directory as one vat, its guest, gets it. It serves Peer; what only members may do fails for others.
type door struct {
	registry *Registry
	guest    transport.VatID
}

// BootstrapFor is the directory for peer: what vat.Config.BootstrapFor asks for. It does not wait.
func (r *Registry) BootstrapFor(peer transport.VatID) capnp.Client {
	d := &door{r, peer}
	return capnp.NewClient(server.New(guarded(Peer_Methods(nil, d)), d, nil))
}

// Local is the directory for local code, which publishes in the name of the node itself. The caller releases it.
func (r *Registry) Local() Directory {
	d := &door{r, r.cfg.ID}
	return Directory(capnp.NewClient(server.New(guarded(Directory_Methods(nil, d)), d, nil)))
}

// guarded are methods a panic of which is an exception: what a peer sends must not end the process.
func guarded(methods []server.Method) []server.Method {
	for i, m := range methods {
		methods[i].Impl = func(ctx context.Context, call *server.Call) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = failed("%s panicked: %v", m.MethodName, p)
				}
			}()
			return m.Impl(ctx, call)
		}
	}
	return methods
}

// Publish implements Directory.
func (d *door) Publish(ctx context.Context, call Directory_publish) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	what := call.Args().Cap().AddRef()
	call.Go()
	p, err := d.registry.publish(ctx, name, what, d.guest)
	if err != nil {
		return err
	}
	return results.SetPublication(Publication(capnp.NewClient(server.New(guarded(Publication_Methods(nil, p)), p, nil))))
}

// Lookup implements Directory.
func (d *door) Lookup(ctx context.Context, call Directory_lookup) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go()
	c, found, err := d.registry.Lookup(ctx, name)
	if err != nil {
		return err
	}
	if err := results.SetCap(c); err != nil {
		return err
	}
	e, err := results.NewEntry()
	if err != nil {
		return err
	}
	return d.registry.describe(found, e)
}

// Describe implements Directory.
func (d *door) Describe(ctx context.Context, call Directory_describe) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go()
	e, err := results.NewEntry()
	if err != nil {
		return err
	}
	return d.registry.describe(d.registry.Describe(ctx, name), e)
}

// List implements Directory.
func (d *door) List(ctx context.Context, call Directory_list) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go()
	all := d.registry.List(ctx)
	list, err := results.NewEntries(int32(len(all)))
	if err != nil {
		return err
	}
	for i, found := range all {
		if err := d.registry.describe(found, list.At(i)); err != nil {
			return err
		}
	}
	return nil
}

// Watch implements Directory.
func (d *door) Watch(_ context.Context, call Directory_watch) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	w, err := d.registry.watch(name, call.Args().Watcher().AddRef(), d.guest)
	if err != nil {
		return err
	}
	return results.SetWatch(Watch_ServerToClient(w))
}

// Identify implements Directory.
func (d *door) Identify(_ context.Context, call Directory_identify) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	if err := results.SetId(string(d.registry.cfg.ID)); err != nil {
		return err
	}
	return results.SetName(d.registry.cfg.Name)
}

// member fails for a door of somebody who is no member.
func (d *door) member() error {
	r := d.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.table.others[d.guest]; x == nil || !x.alive {
		return failed("%s is no member of this cluster that node %s knows", d.guest.Short(), r.cfg.Name)
	}
	return nil
}

// errClosing is told instead of what a node holds that closes. It lets go of its names then: that it holds none must not
// be believed, for what others are to know of them is that it has left.
var errClosing = disconnected("the node is closing")

// Claim implements Peer.
func (d *door) Claim(_ context.Context, call Peer_claim) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	if err := d.member(); err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	r := d.registry
	r.mu.Lock()
	free, reason := r.table.claimed(d.guest, name, call.Args().Stamp())
	r.mu.Unlock()
	results.SetFree(free)
	return results.SetReason(reason)
}

// Tell implements Peer.
func (d *door) Tell(_ context.Context, call Peer_tell) error {
	if err := d.member(); err != nil {
		return err
	}
	news, err := call.Args().News()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	r := d.registry
	if err := r.heard(d.guest, news); err != nil || !call.Args().Answer() {
		return err
	}
	to, err := results.NewNews()
	if err != nil {
		return err
	}
	r.mu.Lock()
	n, closed := r.table.news(nil, true), r.closed
	r.mu.Unlock()
	if closed {
		return errClosing
	}
	return n.encode(to)
}

// Get implements Peer.
func (d *door) Get(_ context.Context, call Peer_get) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	if err := d.member(); err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	r := d.registry
	r.mu.Lock()
	o := r.table.own[name]
	held, closed := o != nil && o.held, r.closed
	r.mu.Unlock()
	if closed {
		return errClosing
	}
	results.SetHeld(held)
	if !held {
		return nil
	}
	return results.SetCap(o.pub.client())
}

// describe writes what is known of a name, with the name of the node that holds it.
func (r *Registry) describe(a Record, to Entry) error {
	if err := a.encode(to); err != nil {
		return err
	}
	if a.State == Absent {
		return nil
	}
	return to.SetHolderName(r.nameOf(a.Holder))
}

// Replace implements Publication.
func (p *publication) Replace(ctx context.Context, call Publication_replace) error {
	what := call.Args().Cap().AddRef()
	call.Go()
	err := p.replace(ctx, what)
	if err != nil {
		what.Release()
	}
	return err
}

// Withdraw implements Publication.
func (p *publication) Withdraw(ctx context.Context, call Publication_withdraw) error {
	call.Go()
	p.withdraw(ctx)
	return nil
}

// Ended implements Publication.
func (p *publication) Ended(ctx context.Context, call Publication_ended) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	call.Go()
	select {
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("the publication goes on: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return results.SetWhy(p.why)
}
