package vat

// A fixedRef is the road of what is pinned to a reference that may resolve: it goes where the reference goes until
// that settles, and then to what it settled on. There it parts from the reference's own callers only where a peer
// has been told of what it settled on as an import: callers follow on from there, and its pins do not (rpc.capnp,
// Tribble 4-way race).
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

// settledOn is what r settled on, nil before.
func (f fixedRef) settledOn() road {
	f.r.mu.RLock()
	defer f.r.mu.RUnlock()
	if f.r.fixed == nil {
		return nil
	}
	return f.r.fixed.road
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
