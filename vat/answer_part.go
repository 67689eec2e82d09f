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

// answerClient is a client for what path leads to in the results of an answer. The caller releases it.
func (s *session) answerClient(id uint32, path []capnp.PipelineOp) (capnp.Client, error) {
	var c capnp.Client
	if !s.answers.visit(id, func(a *answer) {
		if a.pipe.res != nil {
			c = a.pipe.res.clientFor(path, a.pipe.pins)
			return
		}
		for _, f := range a.feeds {
			if samePath(f.path, path) {
				c = f.client.AddRef()
				return
			}
		}
		if len(a.feeds) >= maxFeeds || s.feeds >= maxAllFeeds {
			c = capnp.ErrorClient(overloaded("%d parts of this answer are referred to already, %d of all", len(a.feeds), s.feeds))
			return
		}
		s.feeds++
		var p *promise
		c, p = s.vat.newPromise()
		a.feeds = append(a.feeds, feed{path, p, c.AddRef()})
	}) {
		return c, fault("reference to answer %d, which does not exist", id)
	}
	return c, nil
}

// clientFor is a client for what path leads to, with pins as from r.pins. The caller releases it.
func (r result) clientFor(path []capnp.PipelineOp, pins []pin) capnp.Client {
	switch to := r.at(path, pins).(type) {
	case brokenRoad:
		return capnp.ErrorClient(to.err)
	default:
		if r.cap != nil {
			return pins[0].client()
		}
		p, _ := capnp.Transform(r.content, path)
		return pins[p.Interface().Capability()].client()
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
	if r.cap != nil {
		return pins[0].again()
	}
	p, _ := capnp.Transform(r.content, path)
	return pins[p.Interface().Capability()].again()
}

// pinTarget pins what the target of a Provide is now. The caller frees it.
func (s *session) pinTarget(t wireTarget) (pin, error) {
	var to pin
	if t.onAnswer {
		c, err := s.answerClient(t.id, t.path)
		if err != nil {
			return to, err
		}
		defer s.vat.later(c.Release)
		return s.vat.pinClient(c), nil
	}
	if !s.exports.visit(t.id, func(e *export) {
		if ref, ok := e.road.(fixedRef); ok {
			to = pin{e.pin.snap.AddRef(), ref.end()}
			return
		}
		to = pin{e.pin.snap, e.road}.again()
	}) {
		return to, fault("Provide of export %d, which does not exist", t.id)
	}
	return to, nil
}
