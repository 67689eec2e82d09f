package names

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// Pauses between attempts to tell a member that does not answer.
const minPause, maxPause = 200 * time.Millisecond, 10 * time.Second

// link is what another member is to be told, and asked. One task at a time tells it, so that what is told arrives in
// order; it ends when there is nothing left to tell, or the member has departed. So an idle registry has no goroutine.
//
// It is guarded by Registry.mu.
type link struct {
	dirty   map[string]bool // names to tell
	all     bool            // tell all
	ask     bool            // ask for all
	waiters []chan<- struct{}
	running bool
	woken   chan struct{} // of one: there is news, or the member has departed
}

func (l *link) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// soil has a member told, if it is there. The caller holds mu.
func (r *Registry) soil(id transport.VatID, how func(*link)) {
	if x := r.table.others[id]; x == nil || !x.alive || r.closed {
		return
	}
	l := r.links[id]
	if l == nil {
		l = &link{dirty: map[string]bool{}, woken: make(chan struct{}, 1)}
		r.links[id] = l
	}
	how(l)
	if l.running {
		l.wake()
		return
	}
	l.running = true
	r.spawn(func() { r.run(id, l) })
}

// run tells a member what there is to tell, until there is nothing left.
func (r *Registry) run(id transport.VatID, l *link) {
	pause := minPause
	for {
		r.mu.Lock()
		batch, ok := r.take(id, l)
		r.mu.Unlock()
		if !ok {
			return
		}
		err := r.exchange(id, batch.news, batch.ask)
		r.mu.Lock()
		if err != nil {
			l.restore(batch)
		}
		r.mu.Unlock()
		for _, told := range batch.waiters {
			close(told)
		}
		if err == nil {
			pause = minPause
			continue
		}
		if r.ctx.Err() == nil {
			r.log.Warn("a member cannot be told the names, trying again", "member", id.Short(), "err", err, "pause", pause)
		}
		r.rest(l, pause)
		pause = min(2*pause, maxPause)
	}
}

// rest waits, but no longer than there is no news.
func (r *Registry) rest(l *link, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.woken:
	case <-r.ctx.Done():
	}
}

// batch is what is told in one call.
type batch struct {
	names    map[string]bool
	all, ask bool
	news     told
	waiters  []chan<- struct{}
}

// take takes what is to be told; if that is nothing, or there is nobody to tell, the task is over. The caller holds mu.
func (r *Registry) take(id transport.VatID, l *link) (batch, bool) {
	b := batch{names: l.dirty, all: l.all, ask: l.ask, waiters: l.waiters}
	l.dirty, l.all, l.ask, l.waiters = map[string]bool{}, false, false, nil
	x := r.table.others[id]
	if r.closed || !x.alive || len(b.names) == 0 && !b.all && !b.ask {
		for _, told := range b.waiters {
			close(told)
		}
		l.running = false
		delete(r.links, id)
		return batch{}, false
	}
	b.news = r.table.news(b.names, b.all)
	return b, true
}

// restore puts back what could not be told, for the next attempt. Nobody waits for that.
func (l *link) restore(b batch) {
	for name := range b.names {
		l.dirty[name] = true
	}
	l.all, l.ask = l.all || b.all, l.ask || b.ask
}

// exchange makes one call.
func (r *Registry) exchange(id transport.VatID, n told, ask bool) error {
	ctx, cancel := r.bounded(r.ctx)
	defer cancel()
	p, err := r.peer(ctx, id)
	if err != nil {
		return err
	}
	defer p.Release()
	answer, release := p.Tell(ctx, func(a Peer_tell_Params) error {
		a.SetAnswer(ask)
		news, err := a.NewNews()
		if err != nil {
			return err
		}
		return n.encode(news)
	})
	defer release()
	res, err := answer.Struct()
	if err != nil || !ask {
		return err
	}
	news, err := res.News()
	if err != nil {
		return err
	}
	if !news.Complete() {
		return errors.New("it was asked for all its names, and has not told all")
	}
	return r.heard(id, news)
}

// hear asks all members that have not told all their names since they are there, and waits until they have, or do not
// answer.
func (r *Registry) hear(ctx context.Context) {
	r.mu.Lock()
	_, unheard := r.table.alive()
	waits := r.soilAll(unheard, func(l *link) { l.ask = true })
	r.mu.Unlock()
	r.await(ctx, waits)
}

// spread tells all members of a name, and waits until they know, or do not answer; but not for those that have been
// silent just now.
func (r *Registry) spread(ctx context.Context, name string, silent ...transport.VatID) {
	r.mu.Lock()
	alive, _ := r.table.alive()
	told := func(l *link) { l.dirty[name] = true }
	for _, id := range silent {
		r.soil(id, told)
	}
	waits := r.soilAll(slices.DeleteFunc(alive, func(id transport.VatID) bool { return slices.Contains(silent, id) }), told)
	r.mu.Unlock()
	r.await(ctx, waits)
}

// soilAll is soil for many; what it returns are closed when each has been told, or has been tried. The caller holds
// mu.
func (r *Registry) soilAll(ids []transport.VatID, how func(*link)) []<-chan struct{} {
	var waits []<-chan struct{}
	for _, id := range ids {
		told := make(chan struct{})
		r.soil(id, func(l *link) {
			how(l)
			l.waiters = append(l.waiters, told)
			waits = append(waits, told)
		})
	}
	return waits
}

// await waits for all, for no longer than Patience: a member may be in the midst of being waited for already.
func (r *Registry) await(ctx context.Context, waits []<-chan struct{}) {
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	for _, told := range waits {
		select {
		case <-told:
		case <-ctx.Done():
			return
		}
	}
}
