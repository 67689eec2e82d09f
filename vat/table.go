package vat

import (
	"maps"
	"slices"
)

// A table holds the entries of one kind of a session: questions, answers, imports, exports, embargoes. The
// state of an entry lives in a cell (an actor of its own, in a running vat), and nowhere else: the table knows
// only which ids are taken. Only turns of the session use it.
type table[T any] struct {
	kind  string
	host  host
	cells map[uint32]cell
	ids   idAllocator
}

// A host makes cells.
type host interface {
	cell(kind string, id uint32, state any) cell
}

// A cell holds the state of one entry.
type cell interface {
	// lend gives the state to the turn that asks, for as long as that lasts. It does not return if the cell
	// failed: the turn fails with it.
	lend() (state any)
	// retire ends the cell: its state is dropped.
	retire()
	// salvage is the state, of a cell that has failed too: for the end of the session.
	salvage() any
}

func newTable[T any](kind string, h host) table[T] {
	return table[T]{kind: kind, host: h, cells: map[uint32]cell{}}
}

// add makes an entry under an id that is free.
func (t *table[T]) add(id uint32, state *T) {
	if _, taken := t.cells[id]; taken {
		panic("vat: " + t.kind + " id given twice")
	}
	t.cells[id] = t.host.cell(t.kind, id, state)
}

// addNew makes an entry under the lowest free id.
func (t *table[T]) addNew(state *T) uint32 {
	id := t.ids.take()
	t.add(id, state)
	return id
}

// visit runs f on the entry id and reports whether there is one. f is run here, and not handed to the cell: a function
// that goes through an interface is allocated, with all that it captures, and a call has a dozen of these.
func (t *table[T]) visit(id uint32, f func(*T)) bool {
	c, ok := t.cells[id]
	if ok {
		f(c.lend().(*T))
	}
	return ok
}

// get is the entry id, nil if there is none: for the turn, as it is lent.
func (t *table[T]) get(id uint32) *T {
	if c, ok := t.cells[id]; ok {
		return c.lend().(*T)
	}
	return nil
}

func (t *table[T]) has(id uint32) bool {
	_, ok := t.cells[id]
	return ok
}

// remove drops an entry. Its id may be given again once free was called: see idAllocator.
func (t *table[T]) remove(id uint32) {
	t.cells[id].retire()
	delete(t.cells, id)
}

// drain empties the table at the end of the session and returns what was in it, in the order of ids.
func (t *table[T]) drain() []*T {
	var all []*T
	for _, id := range slices.Sorted(maps.Keys(t.cells)) {
		if state, ok := t.cells[id].salvage().(*T); ok {
			all = append(all, state)
		}
	}
	clear(t.cells)
	return all
}

func (t *table[T]) len() int { return len(t.cells) }

// sorted visits every entry in the order of ids.
func (t *table[T]) sorted(f func(id uint32, state *T)) {
	for _, id := range slices.Sorted(maps.Keys(t.cells)) {
		t.visit(id, func(state *T) { f(id, state) })
	}
}

// idAllocator gives the lowest free id, so that tables stay small and traces readable.
type idAllocator struct {
	next uint32
	free idHeap
}

func (a *idAllocator) take() uint32 {
	if len(a.free) > 0 {
		return a.free.pop()
	}
	a.next++
	return a.next - 1
}

// giveBack makes id free. For ids that the peer uses too, only once both directions of rpc.capnp's lifetime
// rules are done with it.
func (a *idAllocator) giveBack(id uint32) { a.free.push(id) }

// An idHeap is a binary heap, the least id first. Not that of container/heap, which allocates for each id.
type idHeap []uint32

func (h *idHeap) push(id uint32) {
	x := append(*h, id)
	*h = x
	for i := len(x) - 1; i > 0; {
		up := (i - 1) / 2
		if x[up] <= x[i] {
			return
		}
		x[up], x[i] = x[i], x[up]
		i = up
	}
}

func (h *idHeap) pop() uint32 {
	x := *h
	least, last := x[0], len(x)-1
	x[0] = x[last]
	x = x[:last]
	*h = x
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return least
		}
		if right := down + 1; right < last && x[right] < x[down] {
			down = right
		}
		if x[i] <= x[down] {
			return least
		}
		x[i], x[down] = x[down], x[i]
		i = down
	}
}
