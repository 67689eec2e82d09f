package names

import (
	"context"
	"fmt"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
)

// publication is a name that this node holds, with the capability.
type publication struct {
	registry *Registry
	own      *own
	stop     context.CancelFunc // ends the watch of what
	ended    chan struct{}      // closed when the name is this publication's no longer, for the reason why

	mu     sync.Mutex
	what   capnp.Client
	why    string
	expiry *time.Timer // while the host is gone
}

// publish claims a name from all members, and holds it then; or replaces what the publisher has under it. It takes
// over what.
func (r *Registry) publish(ctx context.Context, name string, what capnp.Client, publisher transport.VatID) (_ *publication, err error) {
	defer func() {
		if err != nil {
			what.Release()
		}
	}()
	if err := checkName(name); err != nil {
		return nil, err
	}
	if !what.IsValid() {
		return nil, failed("there is no capability to publish under %q", name)
	}
	if publisher.IsTwoParty() {
		return nil, failed("a peer of level 1 has no identity to hold the name %q by", name)
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, errClosing
	}
	o, err := r.table.begin(name, publisher, uint64(time.Now().UnixNano()))
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if p := o.pub; p != nil {
		r.mu.Unlock()
		return p, p.replace(ctx, what)
	}
	alive, _ := r.table.alive()
	r.mu.Unlock()
	silent, refused := r.claim(ctx, o, alive)
	r.mu.Lock()
	if err := r.hold(o, what, refused); err != nil {
		r.mu.Unlock()
		return nil, err
	}
	p := o.pub
	r.mu.Unlock()
	r.log.Info("name published", "name", name, "publisher", string(publisher))
	r.spread(ctx, name, silent...)
	return p, nil
}

// hold ends a claim: well, if nobody has refused it. The caller holds mu.
func (r *Registry) hold(o *own, what capnp.Client, refused error) error {
	if r.closed {
		refused = errClosing
	}
	if refused != nil {
		r.table.end(o)
		return refused
	}
	if err := r.table.establish(o); err != nil {
		return err
	}
	o.pub = &publication{registry: r, own: o, what: what, stop: func() {}, ended: make(chan struct{})}
	r.watchHost(o.pub, what)
	r.notify(o.Name)
	return nil
}

// claim asks all members at once. One that is silent is taken for one of another half: see the comment of the package.
func (r *Registry) claim(ctx context.Context, o *own, members []transport.VatID) (silent []transport.VatID, refused error) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	type verdict struct {
		by               transport.VatID
		refused, unasked error
	}
	verdicts := make(chan verdict, len(members))
	for _, id := range members {
		go func() {
			refused, unasked := r.claimFrom(ctx, o.Name, o.Stamp, id)
			verdicts <- verdict{id, refused, unasked}
		}()
	}
	for range members {
		switch v := <-verdicts; {
		case v.refused != nil && refused == nil:
			refused = v.refused
			cancel()
		case v.unasked != nil:
			silent = append(silent, v.by)
			if ctx.Err() != context.Canceled {
				r.log.Warn("a member does not answer a claim", "name", o.Name, "member", r.called(v.by), "err", v.unasked)
			}
		}
	}
	if refused == nil && ctx.Err() == context.Canceled {
		refused = fmt.Errorf("publishing %q: %w", o.Name, context.Cause(ctx))
	}
	return silent, refused
}

// claimFrom returns why the member refuses, or why it could not be asked.
func (r *Registry) claimFrom(ctx context.Context, name string, stamp uint64, id transport.VatID) (refused, unasked error) {
	p, err := r.peer(ctx, id)
	if err != nil {
		return nil, err
	}
	defer p.Release()
	answer, release := p.Claim(ctx, func(a Peer_claim_Params) error {
		a.SetStamp(stamp)
		return a.SetName(name)
	})
	defer release()
	res, err := answer.Struct()
	if err != nil || res.Free() {
		return nil, err
	}
	reason, err := res.Reason()
	if err != nil {
		return nil, err
	}
	return failed("%s", reason), nil
}

// watchHost waits for the end of what. The caller holds Registry.mu, and has not handed the publication to others yet, or
// holds its lock.
func (r *Registry) watchHost(p *publication, what capnp.Client) {
	p.stop()
	ctx, stop := context.WithCancel(r.ctx)
	p.stop = stop
	what = what.AddRef()
	r.spawn(func() {
		defer what.Release()
		select {
		case <-r.ready:
		case <-ctx.Done():
			return
		}
		for why := range r.vat.Watch(ctx, what) {
			r.hostGone(ctx, p, why)
		}
	})
}

// hostGone has the name say so, for a while. ctx is that of the watch: it is over where the capability was replaced.
func (r *Registry) hostGone(ctx context.Context, p *publication, why error) {
	r.mu.Lock()
	o := p.own
	if r.table.own[o.Name] != o || ctx.Err() != nil {
		r.mu.Unlock()
		return
	}
	o.State, o.Why = Gone, cut(why.Error())
	r.table.change(o)
	r.notify(o.Name)
	p.mu.Lock()
	p.expiry = time.AfterFunc(Hold, func() { p.end(fmt.Sprintf("its host has been gone for %v", Hold)) })
	p.mu.Unlock()
	r.mu.Unlock()
	r.log.Info("the host of a name is gone", "name", o.Name, "why", why)
	r.spread(r.ctx, o.Name)
}

// replace takes over what unless it fails.
func (p *publication) replace(ctx context.Context, what capnp.Client) error {
	r, o := p.registry, p.own
	if !what.IsValid() {
		return failed("there is no capability to publish under %q", o.Name)
	}
	r.mu.Lock()
	if r.closed || r.table.own[o.Name] != o {
		r.mu.Unlock()
		return failed("the name %q is that of this publication no longer", o.Name)
	}
	p.mu.Lock()
	old := p.what
	p.what = what
	if p.expiry != nil {
		p.expiry.Stop()
	}
	r.watchHost(p, what)
	p.mu.Unlock()
	o.State, o.Why = Live, ""
	r.table.change(o)
	r.notify(o.Name)
	r.mu.Unlock()
	old.Release()
	r.log.Info("name replaced", "name", o.Name)
	r.spread(ctx, o.Name)
	return nil
}

// Publish publishes what under name, in the name of the node itself. It takes over what. See Directory.publish.
func (r *Registry) Publish(ctx context.Context, name string, what capnp.Client) error {
	_, err := r.publish(ctx, name, what, r.cfg.ID)
	return err
}

// Withdraw withdraws a name that publisher has published at this node. Not found: nobody has published it anywhere.
func (r *Registry) Withdraw(ctx context.Context, name string, publisher transport.VatID) (found bool, err error) {
	known, p := r.known(ctx, name)
	switch {
	case known.State == Absent:
		return false, nil
	case p == nil || known.Publisher != publisher:
		return true, failed("the name %q was published by %s, at node %s, who alone can withdraw it", name, known.Publisher.Short(), r.called(known.Holder))
	}
	p.withdraw(ctx)
	return true, nil
}

// withdraw ends a publication, and tells all.
func (p *publication) withdraw(ctx context.Context) {
	p.end("withdrawn")
	p.registry.spread(ctx, p.own.Name)
}

// end takes the name out, once, for the reason why.
func (p *publication) end(why string) {
	r, o := p.registry, p.own
	r.mu.Lock()
	if r.table.own[o.Name] != o {
		r.mu.Unlock()
		return
	}
	r.table.end(o)
	r.notify(o.Name)
	alive, _ := r.table.alive()
	for _, id := range alive {
		r.soil(id, func(l *link) { l.dirty[o.Name] = true })
	}
	r.mu.Unlock()
	p.mu.Lock()
	p.stop()
	what := p.what
	p.what, p.why = capnp.Client{}, why
	if p.expiry != nil {
		p.expiry.Stop()
	}
	close(p.ended)
	p.mu.Unlock()
	what.Release()
	r.log.Info("name given up", "name", o.Name, "why", why)
}

// client is a reference to what is published; null if that has ended.
func (p *publication) client() capnp.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.what.AddRef()
}

// heard takes over what a member says, and ends what it holds with more right.
func (r *Registry) heard(from transport.VatID, news News) error {
	n, err := decodeNews(news, from)
	if err != nil {
		return err
	}
	r.mu.Lock()
	changed, conflicts, err := r.table.merge(from, n)
	for _, name := range changed {
		r.notify(name)
	}
	ends := map[*publication]string{}
	for _, c := range conflicts {
		if !c.lost {
			r.soil(from, func(l *link) { l.dirty[c.own.Name] = true })
			continue
		}
		right := "who published the name earlier"
		if c.with.State != c.own.State {
			right = "whose host is there"
		}
		ends[c.own.pub] = fmt.Sprintf("lost to %s, %s, at node %s", c.with.Publisher.Short(), right, r.called(c.with.Holder))
	}
	r.mu.Unlock()
	for p, why := range ends {
		r.log.Warn("a name is held at another node too, and with more right", "name", p.own.Name, "why", why)
		p.end(why)
	}
	return err
}
