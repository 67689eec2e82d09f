package names

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// Config says for which node a Registry is.
type Config struct {
	ID   transport.VatID
	Name string // of the member

	// Epoch grows with each start of the node; what it said before is forgotten by the others. 0 means the time in
	// nanoseconds since 1970.
	Epoch uint64

	// Member is the name of a member, also of one that has failed or left; "" if it is not known. It must not block. nil:
	// none is known.
	Member func(transport.VatID) string

	// Logger hears of what is published and lost. nil means slog.Default.
	Logger *slog.Logger
}

// Registry is a node's part in the directory of names: what is published here, and what the others say.
//
// It is made before its vat, which needs BootstrapFor, and started when that is there; it is closed before its vat is.
// It is told who is a member by Joined and Departed, which the callbacks of the cluster call.
//
// Locks: nothing is called with mu held that waits, or enters the vat.
type Registry struct {
	cfg  Config
	log  *slog.Logger
	ctx  context.Context // done when closed
	stop context.CancelFunc

	ready chan struct{} // closed when vat is set
	vat   *vat.Vat

	mu      sync.Mutex
	closed  bool
	tasks   sync.WaitGroup // added to under mu, while not closed
	table   *table
	links   map[transport.VatID]*link
	watches map[string]map[*watch]bool
	watched map[transport.VatID]int // how many there are, by whom they are for
	// expiries are of members that are gone.
	expiries map[transport.VatID]*time.Timer
}

// New makes a registry that knows no member yet.
func New(cfg Config) *Registry {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Member == nil {
		cfg.Member = func(transport.VatID) string { return "" }
	}
	if cfg.Epoch == 0 {
		cfg.Epoch = uint64(time.Now().UnixNano())
	}
	r := &Registry{
		cfg:     cfg,
		log:     cfg.Logger,
		ready:   make(chan struct{}),
		table:   newTable(cfg.ID, cfg.Epoch),
		links:   map[transport.VatID]*link{},
		watches: map[string]map[*watch]bool{},
		watched: map[transport.VatID]int{},

		expiries: map[transport.VatID]*time.Timer{},
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Start gives the registry its vat. Calls that came before wait for it.
func (r *Registry) Start(v *vat.Vat) {
	r.vat = v
	close(r.ready)
}

// Close ends what is under way, and lets go of all that is published here, without telling anyone: a node that closes
// leaves the cluster.
func (r *Registry) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	for id := range r.expiries {
		r.remember(id)
	}
	var held []*publication
	for _, o := range r.table.own {
		if o.pub != nil {
			held = append(held, o.pub)
		}
	}
	r.mu.Unlock()
	r.stop()
	for _, p := range held {
		p.end("the node is closing")
	}
	r.tasks.Wait()
}

// spawn runs a task of the registry's; not when it is closed. The caller holds mu.
func (r *Registry) spawn(task func()) {
	if !r.closed {
		r.tasks.Go(task)
	}
}

// Joined says that a member is there, for the first time or again.
func (r *Registry) Joined(id transport.VatID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember(id)
	known := r.table.joined(id)
	for name := range r.table.others[id].records {
		r.notify(name)
	}
	// Who has nothing to tell, nor to ask, makes no session: most members of a large cluster.
	if known || len(r.table.own) > 0 {
		r.soil(id, func(l *link) { l.all, l.ask = true, known })
	}
}

// Departed says that a member is gone, and how, such as "has failed".
func (r *Registry) Departed(id transport.VatID, how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.table.departed(id, fmt.Sprintf("node %s %s", r.called(id), how)) {
		r.notify(name)
	}
	if l := r.links[id]; l != nil {
		l.wake()
	}
	r.remember(id)
	if !r.closed {
		r.expiries[id] = time.AfterFunc(Hold, func() { r.expire(id) })
	}
}

// remember has a member that is gone not be forgotten. The caller holds mu.
func (r *Registry) remember(id transport.VatID) {
	if timer := r.expiries[id]; timer != nil {
		timer.Stop()
		delete(r.expiries, id)
	}
}

// expire forgets a member that has been gone for Hold.
func (r *Registry) expire(id transport.VatID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range r.table.forgetGone(id) {
		r.notify(name)
	}
}

// called is a node for people.
func (r *Registry) called(id transport.VatID) string {
	return cmp.Or(r.nameOf(id), id.Short())
}

func (r *Registry) nameOf(id transport.VatID) string {
	if id == r.cfg.ID {
		return r.cfg.Name
	}
	return r.cfg.Member(id)
}

// Stats counts names and watches.
type Stats struct{ Held, Known, Watches int }

// Stats counts what the registry holds, and what it knows of.
func (r *Registry) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Held: len(r.table.own), Known: len(r.table.names())}
	for _, n := range r.watched {
		s.Watches += n
	}
	return s
}

// peer is the part of another member in the directory. The caller releases it.
func (r *Registry) peer(ctx context.Context, id transport.VatID) (Peer, error) {
	select {
	case <-r.ready:
		return Peer(r.vat.Bootstrap(ctx, id)), nil
	case <-ctx.Done():
		return Peer{}, ctx.Err()
	}
}

// bounded ends with ctx, with the registry, and after Patience.
func (r *Registry) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// Lookup returns what is published under name, wherever that is. The caller releases the client.
//
// Errors: failed, there is no such name; disconnected, its host or the node that holds it is gone.
func (r *Registry) Lookup(ctx context.Context, name string) (capnp.Client, Record, error) {
	if err := checkName(name); err != nil {
		return capnp.Client{}, Record{}, err
	}
	// A holder that says that it does not hold the name any more makes the next one the best; then there is none.
	for range 4 {
		found, o := r.known(ctx, name)
		switch {
		case found.State == Absent:
			return capnp.Client{}, found, failed("no such name: %q", name)
		case found.State == Gone:
			return capnp.Client{}, found, disconnected("%q is gone: %s", name, found.Why)
		case o != nil:
			return o.client(), found, nil
		}
		c, held, err := r.get(ctx, found)
		if err != nil {
			return capnp.Client{}, found, disconnected("%q is held at node %s, which does not answer: %v", name, r.called(found.Holder), err)
		}
		if held {
			return c, found, nil
		}
	}
	return capnp.Client{}, Record{}, failed("%q moves about: try again", name)
}

// get asks the holder, for as long as the caller waits: one that is dead ends its session before long.
func (r *Registry) get(ctx context.Context, found Record) (c capnp.Client, held bool, err error) {
	p, err := r.peer(ctx, found.Holder)
	if err != nil {
		return c, false, err
	}
	defer p.Release()
	answer, release := p.Get(ctx, func(a Peer_get_Params) error { return a.SetName(found.Name) })
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return c, false, err
	}
	if !res.Held() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.table.forget(found)
		return c, false, nil
	}
	return res.Cap().AddRef(), true, nil
}

// known is what is known of a name, and its publication where it is held here. Where nothing is known the members that
// have not told all their names yet are asked.
func (r *Registry) known(ctx context.Context, name string) (Record, *publication) {
	r.mu.Lock()
	found, ok := r.table.find(name)
	r.mu.Unlock()
	if !ok {
		r.hear(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if found, ok = r.table.find(name); !ok {
		return Record{Name: name}, nil
	}
	if found.Holder == r.cfg.ID {
		return found, r.table.own[name].pub
	}
	return found, nil
}

// Describe is what is known of a name; its state is Absent where nothing is.
func (r *Registry) Describe(ctx context.Context, name string) Record {
	found, _ := r.known(ctx, name)
	return found
}

// List is what is known of all names, ordered.
func (r *Registry) List(ctx context.Context) []Record {
	r.hear(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Record
	for _, name := range r.table.names() {
		if found, ok := r.table.find(name); ok {
			all = append(all, found)
		}
	}
	return all
}
