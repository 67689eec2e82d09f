package vat

import (
	"slices"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A pipeline is what is pipelined on the results of one call before they are here.
//
// States, in this order, the second and third may be left out:
//
//	queueing   the call has not gone anywhere: what is pipelined waits here
//	forwarded  the call went out on a wire: what is pipelined follows it there
//	closing    the results are here, and not in place: what is pipelined waits here. Where something followed the call
//	           it may still wait in the mailbox of that session, so this lasts until an echo has come back from behind it
//	settled    what is pipelined goes to the capabilities in the results, as pinned then
//
// While queueing, some results may be set early: what is pipelined on their capabilities goes there, the rest waits.
//
// It is pure: what is to be put where comes back as deliveries, to be carried out in order. An answer has
// one in its actor; a call of local code has one under a lock.
type pipeline struct {
	queue   []pipelined
	on      *questionRef
	local   bool // of a call of local code
	sent    bool // something followed the call
	closing bool
	res     *result
	pins    []pin
	fixed   []pin // of local calls, whose pins follow: the same that do not
	early   *early
}

// pipelined is a parcel for what path leads to in the results.
type pipelined struct {
	path []capnp.PipelineOp
	parcel
	fixed bool // it goes to what was pinned when the results came, even if that has resolved since
}

// A delivery is a parcel to be put on a road.
type delivery struct {
	to road
	parcel
}

// add takes one more parcel: it waits, or is to be delivered now.
func (p *pipeline) add(x pipelined) (delivery, bool) {
	to := p.road(x.path, x.fixed)
	if to == nil {
		waiting(x.parcel)
		p.queue = append(p.queue, x)
		return delivery{}, false
	}
	p.sent = true
	return delivery{to, x.parcel}, true
}

// road is where to put what is pipelined on path, nil while it has to wait.
func (p *pipeline) road(path []capnp.PipelineOp, fixed bool) road {
	switch {
	case p.res != nil && fixed:
		return p.res.at(path, p.fixed)
	case p.res != nil:
		return p.res.at(path, p.pins)
	case p.early.has(path) && fixed:
		return p.early.at(path, p.early.fixed)
	case p.early.has(path):
		return p.early.at(path, p.early.pins)
	case p.on != nil && !p.closing:
		return pipelineRoad{p.on, path, p.local && !fixed}
	}
	return nil
}

// forwarded hands the queue on to q, on which the call went out.
func (p *pipeline) forwarded(q *questionRef) []delivery {
	p.on = q
	p.sent = len(p.queue) > 0
	return p.flush()
}

// close says that the results are here, and whether an echo must be awaited before settle.
func (p *pipeline) close() (await *questionRef) {
	p.closing = p.on != nil
	if !p.sent {
		return nil
	}
	return p.on
}

// settle hands the queue on to the results. pins are those of r, which stays as it is.
func (p *pipeline) settle(r *result, pins []pin) []delivery {
	p.res, p.pins, p.on, p.closing = r, pins, nil, false
	return p.flush()
}

// dropCanceled takes out the calls whose callers gave up: nobody waits for the results on their account.
func (p *pipeline) dropCanceled() (canceled []parcel) {
	p.queue = slices.DeleteFunc(p.queue, func(x pipelined) bool {
		c, ok := x.parcel.(*call)
		gone := ok && c.ctx.Err() != nil
		if gone {
			canceled = append(canceled, c)
		}
		return gone
	})
	return canceled
}

// flush hands on what has somewhere to go.
func (p *pipeline) flush() []delivery {
	var out []delivery
	var wait []pipelined
	for _, x := range p.queue {
		if to := p.road(x.path, x.fixed); to != nil {
			out = append(out, delivery{to, x.parcel})
		} else {
			wait = append(wait, x)
		}
	}
	p.queue = wait
	return out
}

// echo is the marker that goes down an old road: reached runs, in a turn, when all that was put before it has
// been passed on.
type echo struct{ reached func() }

// awaitEcho has then run behind all that was put on q; at once where its session has ended.
func awaitEcho(q *questionRef, then func()) {
	if q.s.vat.breaks(hook.Echo) || !q.s.post(&echo{then}) {
		then()
		return
	}
	q.s.wake()
}
