package names

import (
	"context"

	"github.com/vatwork/vatwork/transport"
)

// watch has a watcher told what is known of one name. It is guarded by Registry.mu but for what its task uses.
type watch struct {
	registry *Registry
	guest    transport.VatID // whom it is for
	name     string
	watcher  Watcher
	kicked   chan struct{} // of one: look again
	ctx      context.Context
	stop     context.CancelFunc
}

// notify has the watches of a name look again. The caller holds mu.
func (r *Registry) notify(name string) {
	for w := range r.watches[name] {
		select {
		case w.kicked <- struct{}{}:
		default:
		}
	}
}

// watch starts a watch for guest. It takes over watcher.
func (r *Registry) watch(name string, watcher Watcher, guest transport.VatID) (*watch, error) {
	if err := checkName(name); err != nil {
		watcher.Release()
		return nil, err
	}
	w := &watch{registry: r, guest: guest, name: name, watcher: watcher, kicked: make(chan struct{}, 1)}
	w.ctx, w.stop = context.WithCancel(r.ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.watched[guest] >= MaxWatches {
		w.stop()
		watcher.Release()
		return nil, overloaded("this node serves %d watches of %s: MaxWatches allows no more", MaxWatches, guest.Short())
	}
	r.watched[guest]++
	if r.watches[name] == nil {
		r.watches[name] = map[*watch]bool{}
	}
	r.watches[name][w] = true
	r.spawn(w.run)
	return w, nil
}

func (w *watch) run() {
	defer w.end()
	r := w.registry
	r.hear(w.ctx)
	var last Record
	for first := true; ; first = false {
		r.mu.Lock()
		now, ok := r.table.find(w.name)
		r.mu.Unlock()
		if !ok {
			now = Record{Name: w.name}
		}
		if first || now != last {
			if err := w.tell(now); err != nil {
				return
			}
			last = now
		}
		select {
		case <-w.kicked:
		case <-w.ctx.Done():
			return
		}
	}
}

func (w *watch) tell(now Record) error {
	answer, release := w.watcher.Changed(w.ctx, func(a Watcher_changed_Params) error {
		e, err := a.NewEntry()
		if err != nil {
			return err
		}
		return w.registry.describe(now, e)
	})
	defer release()
	_, err := answer.Struct()
	return err
}

func (w *watch) end() {
	w.stop()
	w.watcher.Release()
	r := w.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watched[w.guest]--; r.watched[w.guest] == 0 {
		delete(r.watched, w.guest)
	}
	delete(r.watches[w.name], w)
	if len(r.watches[w.name]) == 0 {
		delete(r.watches, w.name)
	}
}

// Shutdown implements server.Shutdowner: nobody holds the watch any more.
func (w *watch) Shutdown() { w.stop() }
