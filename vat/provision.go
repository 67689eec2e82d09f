package vat

import (
	"slices"

	"github.com/vatwork/vatwork/transport"
)

// A provision pairs what an introducer provides with the recipient that picks it up, whichever comes first:
// provision/<n> in the actor tree. It is pure: each of its methods returns what is to be told to whom.
//
// States: expected (only Accepts have come, or Disembargos); known (the introducer has named it: there is an
// answer to return, or a call whose results are kept); ready (what there is to pick up is known); over (the
// introducer has let go, or is lost: over says why).
//
// An Accept is answered when the provision is ready and its embargo, if it has one, is lifted. The ids of
// lifted embargoes are remembered until their Accept has come, or the provision is over: a Disembargo may come first.
type provision struct {
	recipient transport.VatID
	provide   *answerRef // of the Provide, until it is returned
	call      *answerRef // whose results are kept
	known     bool
	ready     bool
	res       result // ready: an exception or one capability
	over      error
	accepted  bool
	accepts   []parked
	lifted    map[string]bool
	first     [1]parked // memory for accepts: mostly there is one
}

// parked is an Accept that waits.
type parked struct {
	by      transport.VatID // whose it is
	as      transport.VatID // whom the introducer must have named: by itself, unless the contact was forwarded
	to      accepter
	embargo string
	held    bool // it has an embargo
}

// An accepter waits for what an Accept picks up: an answer to a peer, or a reference of our own.
type accepter interface{ settle(result) }

// An outcome is a result for an Accept, or for the Provide.
type outcome struct {
	to  accepter
	res result
}

const maxParked = 256 // Accepts that wait for one provision
const maxLifted = 64  // embargo ids remembered of one provision

// name says that the introducer has made it known for recipient. Others that wait are refused.
func (p *provision) name(recipient transport.VatID, provide *answerRef) []outcome {
	p.known, p.recipient, p.provide = true, recipient, provide
	var out []outcome
	accepts := p.accepts
	p.accepts = nil
	for _, a := range accepts {
		out = append(out, p.accept(a)...)
	}
	return out
}

// offer says what there is to pick up; takes over r.
func (p *provision) offer(r result) []outcome {
	p.ready, p.res = true, r
	return p.settle(nil)
}

// accept takes one Accept. It parks unless all is there.
func (p *provision) accept(a parked) []outcome {
	if p.known && a.as != p.recipient {
		return []outcome{{a.to, result{err: &refusal{a.by, "the provision is not for " + a.as.Short()}}}}
	}
	if p.over != nil {
		return []outcome{{a.to, result{err: p.over}}}
	}
	if len(p.accepts) >= maxParked {
		return []outcome{{a.to, result{err: overloaded("%d Accepts wait for one provision already", maxParked)}}}
	}
	if p.accepts == nil {
		p.accepts = p.first[:0]
	}
	p.accepts = append(p.accepts, a)
	if !p.known {
		return nil
	}
	p.accepted = true
	out := make([]outcome, 0, 2)
	if p.provide != nil {
		out = append(out, outcome{p.provide, result{}})
		p.provide = nil
	}
	return p.settle(out)
}

// lift ends an embargo.
func (p *provision) lift(id string) []outcome {
	if p.over != nil || len(p.lifted) >= maxLifted {
		return nil
	}
	if p.lifted == nil {
		p.lifted = map[string]bool{}
	}
	p.lifted[id] = true
	return p.settle(nil)
}

// settle answers every Accept that needs not wait any longer, behind what is in out.
func (p *provision) settle(out []outcome) []outcome {
	if !p.ready || !p.known {
		return out
	}
	var wait []parked
	for _, a := range p.accepts {
		if a.held && !p.lifted[a.embargo] {
			wait = append(wait, a)
			continue
		}
		if a.held {
			delete(p.lifted, a.embargo) // good for one Accept: many may come, of all to whom the contact was forwarded
		}
		out = append(out, outcome{a.to, p.copyOf()})
	}
	p.accepts, p.first = wait, [1]parked{}
	return out
}

// copyOf is the result for one more Accept.
func (p *provision) copyOf() result {
	if p.res.err != nil || p.res.cap == nil {
		return p.res
	}
	c := p.res.cap.again()
	return result{cap: &c}
}

// end: the introducer has finished the Provide, or is lost. Accepts whose embargo only it could have lifted fail;
// those that wait for a result that is under way go on waiting.
func (p *provision) end(why error) []outcome {
	if p.over != nil {
		return nil
	}
	p.over = why
	var out []outcome
	var wait []parked
	for _, a := range p.accepts {
		if p.known && !p.ready && p.accepted && (!a.held || p.lifted[a.embargo]) {
			wait = append(wait, a)
			continue
		}
		out = append(out, outcome{a.to, result{err: why}})
	}
	p.accepts = wait
	return out
}

// leave forgets the Accept of to: it was finished, or its session ended.
func (p *provision) leave(to accepter) {
	for i, a := range p.accepts {
		if a.to == to {
			p.accepts = slices.Delete(p.accepts, i, i+1)
			return
		}
	}
}

// waits says whether the Accept of to does.
func (p *provision) waits(to accepter) bool {
	return slices.ContainsFunc(p.accepts, func(a parked) bool { return a.to == to })
}

// overdue says for what the Accept of to has waited too long, if it has. The results of a call may take their time: it is
// to be asked again.
func (p *provision) overdue(to accepter) (why string, again bool) {
	switch {
	case !p.waits(to):
		return "", false
	case !p.known:
		return "nothing came to pick up", false
	case !p.ready:
		return "", true
	}
	return "the embargo was not lifted", false
}

// close ends it with the vat.
func (p *provision) close(why error) (out []outcome) {
	for _, a := range p.accepts {
		out = append(out, outcome{a.to, result{err: why}})
	}
	p.accepts, p.over = nil, why
	return out
}

// awaited says whether somebody still waits for what there will be to pick up. Who was told that it is over does not.
func (p *provision) awaited() bool { return p.accepted && len(p.accepts) > 0 }

func (p *provision) done() bool { return len(p.accepts) == 0 && (p.over != nil || !p.known) }

// A refusal is what a vat sees that asks for a provision that is not for it.
type refusal struct {
	by  transport.VatID
	why string
}

func (r *refusal) Error() string { return r.why }
