package vat

import "github.com/vatwork/vatwork/vat/internal/hook"

// Where what is pinned leads, and where local callers go.
//
// What is pinned to something that may yet resolve goes where local callers go, up to the moment when a peer is told
// that this is what a promise, or a part of results, leads to, and is an import. From then on all that is pinned to
// what was told of ends at that import for ever (rpc.capnp, Tribble 4-way race), wherever local callers go next. So
// at any time two pins of one thing, and its callers, go the same way, or have parted after what both had put
// was on that way.

// told is p as s tells it to its peer, which has to be the end of the road of all that is pinned to the same and
// heard of by that peer. It takes over p. What leads on, from an import that may yet resolve, ends there if the
// peer can be told of that import: as its own, or as one that it picks up at its host. All that was put on p before
// has gone to the import then: p has led there all the time. A contact to which nothing has gone ends at its vine, if
// it can be forwarded.
func (s *session) told(p pin) pin {
	if part, ok := p.road.(answerRoad); ok {
		again := s.vat.pinPart(part)
		s.vat.freeLater(&p)
		p = again
	}
	p = s.vat.ahead(p).toPassOn(s)
	f, ok := p.road.(fixedRef)
	if !ok {
		return p
	}
	i := f.r.atHome()
	if i == nil {
		return p
	}
	if i.s != s && !i.introducible(s) {
		i.drop()
		return p
	}
	f.drop()
	return pin{p.snap, i}
}

// toldTo is p if told to the sessions of all ws: at once, for it is to end at one place for all of them.
func (p pin) toldTo(v *Vat, ws []*watcher) pin {
	if len(ws) == 0 {
		return p
	}
	p = passOn(v.ahead(p), ws)
	if c := p.contact(); c != nil {
		c.drop()
		return p
	}
	for _, w := range ws {
		p = w.s.told(p)
	}
	return p
}

// ahead takes over p, and pins what it has settled on, if it has.
func (v *Vat) ahead(p pin) pin {
	for {
		f, ok := p.road.(fixedRef)
		if !ok || !f.r.settled() {
			return p
		}
		next := f.r.resolvedTo()
		v.freeLater(&p)
		p = next
	}
}

// atHome is the import, held for the caller, where r is and may yet move on from; nil if there is none.
func (r *reference) atHome() *importRef {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i, ok := r.road.(*importRef)
	if !ok || r.next != nil || r.road != r.home {
		return nil
	}
	i.hold()
	return i
}

// endsAtVine says whether p ends at the vine of a contact that has not been accepted.
func (p pin) endsAtVine() bool {
	c := p.contact()
	if c == nil {
		return false
	}
	c.drop()
	return p.road == c.vine.road
}

// A heldParcel waits for what it was put on to settle. fixed: it came by a pin, and not from local callers.
type heldParcel struct {
	parcel
	fixed bool
}

// handOn puts what was held for something that settles on p, which it takes over, where it goes now: callers is where
// local callers go. It returns what those who watch are told, to whom introduce, if not nil, makes it known first;
// ok says whether that is still so.
//
// Up to here all goes the same way. If the reference there moves on in the middle, so does some of what was held, and
// no import can be told of any more. By the vine of a contact go pins alone, and ahead of all callers: these accept it,
// which is behind an embargo if something went by the vine, and the Disembargo for that has to be behind all of it.
// Nobody notices: whose calls have come by a pin may go on as a caller, but not the other way round.
func (v *Vat) handOn(p pin, held []heldParcel, callers road, ws []*watcher, introduce func(told pin)) (told pin, ok bool) {
	told = p.again().toldTo(v, ws)
	if introduce != nil {
		introduce(told)
	}
	atVine := told.endsAtVine()
	for _, x := range held {
		if x.fixed && atVine {
			told.road.put(x.parcel)
		}
	}
	for _, x := range held {
		switch {
		case !x.fixed:
			callers.put(x.parcel)
		case !atVine:
			p.road.put(x.parcel)
		}
	}
	if atVine || p.leadsNowTo(told.road) {
		v.freeLater(&p)
		return told, true
	}
	v.freeLater(&told)
	return p, false
}

// leadsNowTo says whether what is put on p goes to end, if that is an import where p was told to end.
func (p pin) leadsNowTo(end road) bool {
	i, ok := end.(*importRef)
	if !ok {
		return true
	}
	at := p.road
	for f, ok := at.(fixedRef); ok; f, ok = at.(fixedRef) {
		at = f.roadNow()
	}
	return at == road(i)
}

// endOf is where what is pinned to a road has been told to go on: the road itself, as long as that leads on.
func endOf(to road) road {
	for {
		var next road
		switch x := to.(type) {
		case fixedRef:
			next = x.settledOn()
		case *promise:
			next = x.settledOn()
		}
		if next == nil {
			return to
		}
		to = next
	}
}

// onward is a pin on where local callers go who came by p: on from there, wherever that resolves to. Not so from
// where others have been told that p ends: what the callers put on p is on that road, which what p resolves to may have
// left since, so that is where they stay. That is an import, for ever, or a promise of ours which stands for part of the
// results of a call, or for a promise of go-capnp's, until it resolves. It borrows p.
func (v *Vat) onward(p pin) pin {
	next := v.followed(p)
	switch end := endOf(p.road).(type) {
	case *promise:
		if a := end.adopted; a != nil {
			if self, ok := a.again(); ok {
				v.freeLater(&next)
				return newPin(self, callersOf{end})
			}
		}
	case *importRef:
		if !end.left.Load() || staysOn(next.road, end) || v.breaks(hook.PinAtOnce) {
			return next
		}
		v.freeLater(&next)
		end.hold()
		stay, _ := v.newReference(end, false)
		defer stay.Release()
		return v.follow(stay)
	}
	return next
}

// followed is follow of a client for p, which it borrows. Of a remote capability that will not resolve none has to be
// made for that.
func (v *Vat) followed(p pin) pin {
	if p.snap.IsValid() && !p.snap.IsPromise() {
		if r, ok := p.snap.Brand().Value.(*reference); ok {
			return pin{p.snap.again(), r}
		}
	}
	c := p.client()
	defer c.Release()
	return v.follow(c)
}

// staysOn says whether local callers who take the road from are on i, for good.
func staysOn(from road, i *importRef) bool {
	for {
		r, ok := from.(*reference)
		if !ok {
			return from == road(i)
		}
		if r.isPromise && !r.settled() {
			return false
		}
		from = r.roadNow()
	}
}
