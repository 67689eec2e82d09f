package vat

import "capnproto.org/go/capnp/v3"

// A feed is a promise of ours for what path leads to in the results of an answer, or of a local call.
type feed struct {
	path   []capnp.PipelineOp
	p      *promise
	client capnp.Client // of an answer: keeps the promise for whoever refers to the same part again
}

// To how many parts of one answer, and of all of them, the peer can refer before they return.
const (
	maxFeeds    = 64
	maxAllFeeds = 4096
)

// answerPin is where calls on what path leads to in the results of an answer go. The caller frees it.
func (s *session) answerPin(id uint32, path []capnp.PipelineOp) (to pin, _ error) {
	if !s.answers.visit(id, func(a *answer) {
		if a.pipe.res != nil {
			to = a.pipe.res.pinAt(s.vat, path, a.pipe.pins)
			return
		}
		if e := a.pipe.early; e.has(path) {
			to = e.pinAt(s.vat, path, e.pins)
			return
		}
		for _, f := range a.feeds {
			if samePath(f.path, path) {
				to = s.vat.pinClient(f.client)
				return
			}
		}
		if len(a.feeds) >= maxFeeds || s.feeds >= maxAllFeeds {
			to = s.vat.follow(capnp.ErrorClient(overloaded("%d parts of this answer are referred to already, %d of all", len(a.feeds), s.feeds)))
			return
		}
		s.feeds++
		c, p := s.vat.newPromise()
		to = s.vat.pinClient(c)
		part := feed{path, p, c}
		if on := a.pipe.on; on != nil && (a.away != nil || a.ref.aside) {
			on.hold()
			s.leadAway([]feed{part}, on) // the results will not come here
			return
		}
		a.feeds = append(a.feeds, part)
	}) {
		if err := s.noAnswer("reference to answer", id); err != nil {
			return to, err
		}
		to = result{plain: true}.pinAt(s.vat, path, nil)
	}
	return to, nil
}

// feed settles feeds of an answer on its results.
func (s *session) feed(feeds []feed, res result, pins []pin) {
	s.feeds -= len(feeds)
	for _, f := range feeds {
		to := res.pinAt(s.vat, f.path, pins)
		s.emit(letGo(func() {
			fulfil := f.p.settleOn(to)
			s.vat.later(fulfil)
			s.vat.later(f.client.Release)
		}))
	}
}

// pinAt pins what path leads to, with pins as from r.pins: what it is by them, whatever it has resolved to since. The
// caller frees it.
func (r result) pinAt(v *Vat, path []capnp.PipelineOp, pins []pin) pin {
	if to, broken := r.at(path, pins).(brokenRoad); broken {
		c := capnp.ErrorClient(to.err)
		defer c.Release()
		return v.follow(c)
	}
	i, _ := r.indexOf(path, len(pins))
	return pins[i].again()
}

// pinTarget pins what the target of a Provide is now. The caller frees it.
func (s *session) pinTarget(t wireTarget) (pin, error) {
	var to pin
	if t.onAnswer {
		return s.answerPin(t.id, t.path)
	}
	if !s.exports.visit(t.id, func(e *export) {
		to = pin{e.pin.snap, e.road}.again()
	}) {
		return to, fault("Provide of export %d, which does not exist", t.id)
	}
	return to, nil
}

// breakFeeds is for feeds of results that will not come.
func breakFeeds(v *Vat, feeds []feed, why error) {
	for _, f := range feeds {
		v.later(func() { f.p.resolve(capnp.ErrorClient(why)) })
		v.later(f.client.Release)
	}
}
