package vat

import (
	"sync"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// completions pairs the Returns that say that a third party will answer with the ThirdPartyAnswers, in either order:
// "of course, it's possible that the ThirdPartyAnswer arrives before the original Return".
//
// An answer counts from the vat that the Return named, or from the introducer itself, who so takes the call back. One
// that comes first is kept for Limits.Awaited, as many of one vat's as Limits.Parked allows, and only as long as there is a
// session with the introducer: the Return that names it can come by no other. Whatever is done with
// leaves a tombstone: what comes for it is let go of at once, and so is what comes from a stranger.
type completions struct {
	mu     sync.Mutex
	awaits map[provisionKey]await
	early  map[unawaitedKey]*unawaited
	owed   map[transport.VatID]int // how many of early each has sent
	past   tombs
}

// An await is who is to answer, and who takes over the question that then is in flight.
type await struct {
	of    transport.VatID
	adopt func(q *questionRef) // enqueues at most
}

type unawaitedKey struct {
	provisionKey
	by transport.VatID
}

type unawaited struct {
	q     *questionRef
	timer *time.Timer
}

// awaitAnswer has adopt called with the question that stands for the answer of the vat of, once it has come. It says
// whether the nonce is new.
func (v *Vat) awaitAnswer(key provisionKey, of transport.VatID, adopt func(*questionRef)) bool {
	t := &v.completions
	t.mu.Lock()
	if _, again := t.awaits[key]; again {
		t.mu.Unlock()
		return false
	}
	q := t.take(unawaitedKey{key, of})
	if q == nil {
		q = t.take(unawaitedKey{key, key.introducer})
	}
	if q != nil {
		t.past.add(key)
		t.mu.Unlock()
		adopt(q)
		return true
	}
	if t.awaits == nil {
		t.awaits = map[provisionKey]await{}
	}
	t.awaits[key] = await{of, adopt}
	t.mu.Unlock()
	return true
}

// stopAwaiting: nobody cares for the answer any more, whether it has come or not.
func (v *Vat) stopAwaiting(key provisionKey, of transport.VatID) {
	t := &v.completions
	t.mu.Lock()
	delete(t.awaits, key)
	t.past.add(key)
	early := []*questionRef{t.take(unawaitedKey{key, of}), t.take(unawaitedKey{key, key.introducer})}
	t.mu.Unlock()
	for _, q := range early {
		if q != nil {
			q.drop()
		}
	}
}

// answered takes a ThirdPartyAnswer of the vat by, for which q stands.
func (v *Vat) answered(key provisionKey, by transport.VatID, q *questionRef) {
	t := &v.completions
	t.mu.Lock()
	a, awaited := t.awaits[key]
	switch {
	case awaited && (a.of == by || key.introducer == by):
		delete(t.awaits, key)
		t.past.add(key)
		t.mu.Unlock()
		a.adopt(q)
		return
	case awaited || t.past.has(key):
		t.mu.Unlock()
		if awaited {
			v.exceeded("refused answers")
			v.log.Warn("refused a ThirdPartyAnswer: another vat is to answer", "peer", string(by), "introducer", string(key.introducer))
		}
		q.drop()
		return
	case t.owed[by] >= v.limits.Parked:
		t.mu.Unlock()
		v.exceeded("Parked")
		q.drop()
		return
	}
	k := unawaitedKey{key, by}
	if t.early[k] != nil {
		t.mu.Unlock()
		q.drop()
		return
	}
	if t.early == nil {
		t.early, t.owed = map[unawaitedKey]*unawaited{}, map[transport.VatID]int{}
	}
	t.owed[by]++
	t.early[k] = &unawaited{q, time.AfterFunc(v.limits.Awaited, func() {
		if v.forgetEarly(k, q) {
			v.exceeded("Awaited")
			q.drop()
		}
	})}
	t.mu.Unlock()
	q.keep(func() { v.forgetEarly(k, q) }) // its session may end first
	if key.introducer != v.ID() && !v.hasSession(key.introducer) && v.forgetEarly(k, q) {
		q.drop()
	}
}

// forwarderLost lets go of the answers to calls that by has forwarded, if there is no session with it any more.
func (v *Vat) forwarderLost(by transport.VatID) {
	if v.hasSession(by) {
		return
	}
	t := &v.completions
	t.mu.Lock()
	var lost []*questionRef
	for k := range t.early {
		if k.introducer == by {
			lost = append(lost, t.take(k))
		}
	}
	t.mu.Unlock()
	for _, q := range lost {
		q.drop()
	}
}

func (v *Vat) forgetEarly(k unawaitedKey, q *questionRef) bool {
	t := &v.completions
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.early[k] != nil && t.early[k].q == q && t.take(k) != nil
}

// take removes an answer that came early, nil if there is none. The caller holds t.mu.
func (t *completions) take(k unawaitedKey) *questionRef {
	e := t.early[k]
	if e == nil {
		return nil
	}
	e.timer.Stop()
	delete(t.early, k)
	if t.owed[k.by]--; t.owed[k.by] == 0 {
		delete(t.owed, k.by)
	}
	return e.q
}

// expireAwait gives up the question that waits for the third party of, after Limits.Awaited. The returned function
// stops that.
func (q *questionRef) expireAwait(of transport.VatID) (stop func()) {
	v := q.s.vat
	limit := v.limits.Awaited
	timer := time.AfterFunc(limit, func() {
		q.s.tell(&cancelAwait{q, disconnected("%s forwarded the call to %s, which has not answered within %v: Limits.Awaited",
			q.s.peer.Short(), of.Short(), limit)})
	})
	return func() { timer.Stop() }
}

// tombs remembers the last keys that are done with.
type tombs struct {
	known map[provisionKey]bool
	ring  []provisionKey
	next  int
}

func (t *tombs) has(key provisionKey) bool { return t.known[key] }

func (t *tombs) add(key provisionKey) {
	if t.known == nil {
		t.known = map[provisionKey]bool{}
	}
	switch {
	case t.known[key]:
		return
	case len(t.ring) < tombstones:
		t.ring = append(t.ring, key)
	default:
		delete(t.known, t.ring[t.next])
		t.ring[t.next] = key
		t.next = (t.next + 1) % tombstones
	}
	t.known[key] = true
}
