package vat

import (
	"maps"
	"slices"
)

// A table holds the entries of one kind of a session: questions, answers, imports, exports, embargoes. The
// state of an entry lives in a cell (an actor of its own, in a running vat), and nowhere else: the table knows
// only which ids are taken. Only turns of the session use it.
//
// The cells of low ids are kept when their entries go, and used again: ids are given lowest first, here and at peers.
type table[T any] struct {
	kind string
	host host
	n    int
	low  []slot          // by id
	high map[uint32]cell // of ids from lowIDs on
	ids  idAllocator
}

// A slot is for one id.
type slot struct {
	cell  cell // nil: never used
	taken bool
}

// lowIDs is how many ids of each kind have cells that are kept.
const lowIDs = 1024

// A host makes cells.
type host interface {
	cell(kind string, id uint32, state any) cell
}

// A cell holds the state of one entry.
type cell interface {
	// lend gives the state to the turn that asks, for as long as that lasts. It does not return if the cell
	// failed: the turn fails with it.
	lend() (state any)
	// clear drops the state; reuse gives the cell that of another entry with the same id.
	clear()
	reuse(state any)
	// retire ends the cell: its state is dropped.
	retire()
	// salvage is the state, of a cell that has failed too: for the end of the session.
	salvage() any
}

func newTable[T any](kind string, h host) table[T] { return table[T]{kind: kind, host: h} }

// cell is that of the entry id, nil if there is none.
func (t *table[T]) cell(id uint32) cell {
	if uint64(id) < uint64(len(t.low)) {
		if s := &t.low[id]; s.taken {
			return s.cell
		}
		return nil
	}
	return t.high[id]
}

// add makes an entry under an id that is free.
func (t *table[T]) add(id uint32, state *T) {
	if t.has(id) {
		panic("vat: " + t.kind + " id given twice")
	}
	if id >= lowIDs {
		c := t.host.cell(t.kind, id, state)
		if t.high == nil {
			t.high = map[uint32]cell{}
		}
		t.high[id] = c
		t.n++
		return
	}
	for uint32(len(t.low)) <= id {
		t.low = append(t.low, slot{})
	}
	s := &t.low[id]
	if s.cell == nil {
		s.cell = t.host.cell(t.kind, id, state)
	} else {
		s.cell.reuse(state)
	}
	s.taken = true
	t.n++
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
	x := t.get(id)
	if x != nil {
		f(x)
	}
	return x != nil
}

// get is the entry id, nil if there is none: for the turn, as it is lent.
func (t *table[T]) get(id uint32) *T {
	if c := t.cell(id); c != nil {
		return c.lend().(*T)
	}
	return nil
}

func (t *table[T]) has(id uint32) bool { return t.cell(id) != nil }

// remove drops an entry. Its id may be given again once free was called: see idAllocator.
func (t *table[T]) remove(id uint32) {
	c := t.cell(id)
	t.n--
	if id < lowIDs {
		t.low[id].taken = false
		c.clear()
		return
	}
	delete(t.high, id)
	c.retire()
}

// drain empties the table at the end of the session and returns what was in it, in the order of ids.
func (t *table[T]) drain() []*T {
	var all []*T
	for _, id := range t.taken() {
		if state, ok := t.cell(id).salvage().(*T); ok {
			all = append(all, state)
		}
	}
	t.n, t.low, t.high = 0, nil, nil
	return all
}

// taken are the ids of all entries, in order.
func (t *table[T]) taken() []uint32 {
	var ids []uint32
	for id := range t.low {
		if t.low[id].taken {
			ids = append(ids, uint32(id))
		}
	}
	return append(ids, slices.Sorted(maps.Keys(t.high))...)
}

func (t *table[T]) len() int { return t.n }

// sorted visits every entry in the order of ids.
func (t *table[T]) sorted(f func(id uint32, state *T)) {
	for _, id := range t.taken() {
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
