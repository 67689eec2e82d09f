package peers

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/peerapi"
)

// newPromise makes the promises of an object in a vat; nil: go-capnp's own.
type newPromise func() (peerapi.Peer, capnp.Resolver[peerapi.Peer])

// An object is a Peer in Go: it runs in a vat and under go-capnp's rpc alike.
type object struct {
	newPromise newPromise
	said       *exchange     // of the vat, where it is a vat's bootstrap
	live       *atomic.Int32 // objects that came of the same first one and are not shut down
	down       chan struct{} // closed with the last reference
	changed    chan struct{} // a note has come; capacity 1
	gate       chan struct{} // no note returns until it is closed; nil: at once

	mu        sync.Mutex
	notes     []uint32
	resolvers []capnp.Resolver[peerapi.Peer]
	held      peerapi.Peer
	// Promises of go-capnp's, which become null when the very Client that NewLocalPromise gave is released, even
	// in the middle of Fulfill and whoever else holds them: so it is kept, and not put into results.
	promises []peerapi.Peer
}

func newObject(p newPromise) (*object, peerapi.Peer) { return another(p, new(atomic.Int32)) }

func another(p newPromise, live *atomic.Int32) (*object, peerapi.Peer) {
	live.Add(1)
	o := &object{newPromise: p, live: live, down: make(chan struct{}), changed: make(chan struct{}, 1)}
	return o, peerapi.Peer_ServerToClient(o)
}

// local is an object for a driver to hand over, released at the end of its test.
func local(t *testing.T) (*object, peerapi.Peer) {
	o, c := newObject(nil)
	t.Cleanup(c.Release)
	return o, c
}

// Shutdown implements server.Shutdowner.
func (o *object) Shutdown() {
	o.mu.Lock()
	held := append(o.promises, o.held)
	o.promises, o.held = nil, peerapi.Peer{}
	o.mu.Unlock()
	for _, p := range held {
		p.Release()
	}
	close(o.down)
	o.live.Add(-1)
}

// gated is local, where no note returns before open. A promise of go-capnp's that is fulfilled with a capability of
// ours panics if one of the calls that waited on it is answered too fast.
func gated(t *testing.T) (o *object, c peerapi.Peer, open func()) {
	o, c = local(t)
	o.gate = make(chan struct{})
	open = sync.OnceFunc(func() { close(o.gate) })
	t.Cleanup(open)
	return o, c, open
}

func (o *object) record(n uint32) {
	o.mu.Lock()
	o.notes = append(o.notes, n)
	o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

func (o *object) seen() []uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]uint32{}, o.notes...)
}

func (o *object) Echo(_ context.Context, c peerapi.Peer_echo) error {
	data, err := c.Args().Data()
	if err != nil {
		return err
	}
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetData(data)
}

func (o *object) Note(ctx context.Context, c peerapi.Peer_note) error {
	o.record(c.Args().N())
	if o.gate == nil {
		return nil
	}
	c.Go()
	select {
	case <-o.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *object) Notes(_ context.Context, c peerapi.Peer_notes) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	notes := o.seen()
	list, err := res.NewNotes(int32(len(notes)))
	if err != nil {
		return err
	}
	for i, n := range notes {
		list.Set(i, n)
	}
	return nil
}

func (o *object) Self(_ context.Context, c peerapi.Peer_self) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	inside, err := res.NewInside()
	if err != nil {
		return err
	}
	if err := inside.SetName("inside"); err != nil {
		return err
	}
	_, peer := another(o.newPromise, o.live)
	return inside.SetPeer(peer)
}

func (o *object) Twice(_ context.Context, c peerapi.Peer_twice) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	_, peer := another(o.newPromise, o.live)
	if err := res.SetOne(peer); err != nil {
		return err
	}
	return res.SetTwo(peer.AddRef())
}

func (o *object) Promise(_ context.Context, c peerapi.Peer_promise) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.newPromise != nil {
		p, r := o.newPromise()
		o.resolvers = append(o.resolvers, r)
		return res.SetPeer(p)
	}
	p, r := capnp.NewLocalPromise[peerapi.Peer]()
	o.resolvers = append(o.resolvers, r)
	o.promises = append(o.promises, p)
	return res.SetPeer(p.AddRef())
}

func (o *object) Settle(_ context.Context, c peerapi.Peer_settle) error {
	o.mu.Lock()
	resolvers := o.resolvers
	o.resolvers = nil
	o.mu.Unlock()
	to := c.Args().To().AddRef()
	defer to.Release()
	c.Go() // what waits on the promises may call back
	for _, r := range resolvers {
		if to.IsValid() {
			r.Fulfill(to.AddRef())
		} else {
			r.Reject(errors.New("denied"))
		}
	}
	return nil
}

func (o *object) Fail(_ context.Context, c peerapi.Peer_fail) error {
	reason, err := c.Args().Reason()
	if err != nil {
		return err
	}
	return exc.New(exc.Type(c.Args().Kind()), "", reason)
}

func (o *object) Hang(ctx context.Context, c peerapi.Peer_hang) error {
	to := c.Args().Peer().AddRef()
	defer to.Release()
	c.Go()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := note(late, to, 1); err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(ctx.Err(), note(late, to, 2))
}

func (o *object) Write(_ context.Context, c peerapi.Peer_write) error {
	n := c.Args().N()
	if n == 0 {
		return errors.New("bad write")
	}
	o.record(n)
	return nil
}

func (o *object) CallBack(ctx context.Context, c peerapi.Peer_callBack) error {
	to, n := c.Args().Peer().AddRef(), c.Args().N()
	defer to.Release()
	c.Go()
	return note(ctx, to, n)
}

func (o *object) Pass(_ context.Context, c peerapi.Peer_pass) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetPeer(c.Args().Peer().AddRef())
}

func (o *object) Keep(_ context.Context, c peerapi.Peer_keep) error {
	o.mu.Lock()
	old := o.held
	o.held = c.Args().Peer().AddRef()
	o.mu.Unlock()
	old.Release()
	return nil
}

func (o *object) Kept(_ context.Context, c peerapi.Peer_kept) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return res.SetPeer(o.held.AddRef())
}

func (o *object) Forward(ctx context.Context, c peerapi.Peer_forward) error {
	data, err := c.Args().Data()
	if err != nil {
		return err
	}
	if to := c.Args().Peer().AddRef(); to.IsValid() {
		defer to.Release()
		ans, release := to.Forward(ctx, func(a peerapi.Peer_forward_Params) error { return a.SetData(data) })
		defer release()
		got, err := ans.Struct()
		if err != nil {
			return err
		}
		if data, err = got.Data(); err != nil {
			return err
		}
	}
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetData(data)
}

// The callers' side.

// patience bounds waits that should end at once: reached only where something hangs.
const patience = 30 * time.Second

func noting(n uint32) func(peerapi.Peer_note_Params) error {
	return func(p peerapi.Peer_note_Params) error {
		p.SetN(n)
		return nil
	}
}

func note(ctx context.Context, p peerapi.Peer, n uint32) error {
	ans, release := p.Note(ctx, noting(n))
	defer release()
	_, err := ans.Struct()
	return err
}

func echo(ctx context.Context, p peerapi.Peer, data []byte) ([]byte, error) {
	ans, release := p.Echo(ctx, func(a peerapi.Peer_echo_Params) error { return a.SetData(data) })
	defer release()
	res, err := ans.Struct()
	if err != nil {
		return nil, err
	}
	got, err := res.Data()
	return append([]byte{}, got...), err
}

// giving sets a parameter to a reference to x, whose own reference stays with the caller.
func giving[P interface{ SetPeer(peerapi.Peer) error }](x peerapi.Peer) func(P) error {
	return func(p P) error { return p.SetPeer(x.AddRef()) }
}

// settle has p resolve its promises, and waits for that.
func settle(ctx context.Context, p, to peerapi.Peer) error {
	ans, release := p.Settle(ctx, func(a peerapi.Peer_settle_Params) error { return a.SetTo(to.AddRef()) })
	defer release()
	_, err := ans.Struct()
	return err
}

func keep(ctx context.Context, p, x peerapi.Peer) error {
	ans, release := p.Keep(ctx, giving[peerapi.Peer_keep_Params](x))
	defer release()
	_, err := ans.Struct()
	return err
}

func notes(ctx context.Context, p peerapi.Peer) ([]uint32, error) {
	ans, release := p.Notes(ctx, nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		return nil, err
	}
	list, err := res.Notes()
	if err != nil {
		return nil, err
	}
	got := make([]uint32, list.Len())
	for i := range got {
		got[i] = list.At(i)
	}
	return got, nil
}
