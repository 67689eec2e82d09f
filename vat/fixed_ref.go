package vat

// A fixedRef is the road of what is pinned to a reference while that has none of its own that is fixed: it goes
// where the reference goes until that settles, and then to what it settled on, as it was then. A reference itself
// would follow on from there, to where its own callers have been told to go, and its pins have not
// (rpc.capnp, Tribble 4-way race).
//
// What the reference settled on is kept for as long as anybody holds a fixedRef to it, and no longer.
type fixedRef struct{ r *reference }

var _ road = fixedRef{}
var _ holder = fixedRef{}

func (f fixedRef) put(p parcel) { f.r.putWhere(p, true) }

func (f fixedRef) wake() {
	if to := f.roadNow(); to != nil {
		to.wake()
	}
}

func (f fixedRef) run() {
	if to := f.roadNow(); to != nil {
		to.run()
	}
}

// roadNow is nil while what is put waits.
func (f fixedRef) roadNow() road {
	f.r.mu.RLock()
	defer f.r.mu.RUnlock()
	return f.r.roadOf(true)
}

// hold is for those who know that the reference has not settled, or that another hold is there.
func (f fixedRef) hold() { f.r.pinned.Add(1) }

func (f fixedRef) drop() {
	if f.r.pinned.Add(-1) > 0 {
		return
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.pinned.Load() == 0 && f.r.fixed != nil {
		f.r.vat.freeLater(f.r.fixed)
		f.r.fixed = nil
	}
}

// tryFixed is a held fixedRef to r, unless r has settled or never will.
func (r *reference) tryFixed() (fixedRef, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.isPromise || r.next != nil {
		return fixedRef{}, false
	}
	f := fixedRef{r}
	f.hold()
	return f, true
}

// end is the road, held for the caller: f itself while the reference has not settled.
func (f fixedRef) end() road {
	f.r.mu.RLock()
	fixed := f.r.fixed
	if fixed != nil {
		if h, ok := fixed.road.(holder); ok {
			h.hold()
		}
	}
	f.r.mu.RUnlock()
	if fixed != nil {
		return fixed.road
	}
	return f.r.end()
}
