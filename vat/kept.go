package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// A keptResult is one capability of the results of a call that go to a third party: the vat that made the call
// introduced us to that party, and us only learns of the results what it may pipeline on.
//
// The call's Return (resultsSentElsewhere) goes out at once; the recipient's Accept is answered with the
// capability, with the call's exception, or with null. The introducer's Finish cancels the call as long as no
// Accept has come, and frees nothing of the recipient's after.
type keptResult struct {
	path      []capnp.PipelineOp
	nonce     nonce
	provision *provisionRef
}

const maxKept = 64 // capabilities of one call's results

func readKept(await transport.ToAwait) ([]keptResult, error) {
	list, err := await.Results()
	if err != nil || list.Len() > maxKept {
		return nil, fault("ToAwait with %d results (at most %d): %v", list.Len(), maxKept, err)
	}
	kept := make([]keptResult, list.Len())
	for i := range kept {
		b, err := list.At(i).Nonce()
		if err != nil {
			return nil, fault("unreadable ToAwait: %v", err)
		}
		if kept[i].nonce, err = toNonce(b); err != nil {
			return nil, err
		}
		path, err := list.At(i).Path()
		if err != nil || path.Len() > 64 {
			return nil, fault("ToAwait with an unreadable path")
		}
		for j := range path.Len() {
			kept[i].path = append(kept[i].path, capnp.PipelineOp{Field: path.At(j)})
		}
	}
	return kept, nil
}

// sendElsewhere returns a call whose results go to a third party, which either accepts them one by one or is sent them
// in a ThirdPartyAnswer.
func (s *session) sendElsewhere(c rpc.Call, x *call, ref *answerRef) error {
	recipient, n, kept, addrs, err := readAwait(c.SendResultsTo().ThirdParty())
	switch {
	case err != nil:
		return err
	case n != nil && len(kept) == 0:
		x.ret = s.adopt(ref, recipient, *n, addrs)
		return nil
	case n != nil || len(kept) == 0:
		return fault("Call with results for a third party: want a nonce, or results that it may accept")
	}
	return s.keepFor(ref, recipient, kept)
}

// keepFor registers the results of a call that the recipient may accept, and returns it.
func (s *session) keepFor(ref *answerRef, recipient transport.VatID, kept []keptResult) error {
	ref.kept = kept
	for i := range kept {
		k := &ref.kept[i]
		s.emit(do(func() {
			again := false
			p, err := s.vat.provision(provisionKey{s.peer, k.nonce}, charge{s.peer, true}, func(x *provision) []outcome {
				if again = x.known; again {
					return nil
				}
				x.call = ref
				return x.name(recipient, nil)
			})
			if again {
				err = failed("a nonce was used for two provisions")
			}
			if err != nil {
				s.vat.log.Warn("results cannot be kept", "peer", s.peer.Short(), "err", err)
				return
			}
			k.provision = p
		}))
	}
	m, r := msgReturn(ref.id)
	r.SetResultsSentElsewhere()
	s.returnMessage(ref.id, m, r)
	return nil
}

// offer tells the recipient's side what came of the call.
func (k keptResult) offer(r result, pins []pin) {
	if k.provision == nil {
		return
	}
	res := r.keptAt(k.path, pins)
	taken := false
	k.provision.visit(func(x *provision) []outcome {
		taken = true
		if !x.accepted && x.over == nil {
			k.provision.keep()
		}
		return x.offer(res)
	})
	if !taken {
		res.free()
	}
}

// keptAt is the capability at path as a result of its own.
func (r result) keptAt(path []capnp.PipelineOp, pins []pin) result {
	if r.err != nil {
		return result{err: r.err}
	}
	p, err := capnp.Transform(r.content, path)
	if err != nil {
		return result{err: err}
	}
	i := p.Interface()
	if id := int(i.Capability()); i.IsValid() && id < len(pins) {
		c := pins[id].again()
		return result{cap: &c}
	}
	null := pin{road: brokenRoad{errNull}}
	return result{cap: &null}
}

// keptFinished: the introducer's Finish. "Before any Accept it cancels the call."
func (s *session) keptFinished(a *answer) {
	ref := a.ref
	if len(ref.kept) == 0 {
		return
	}
	s.emit(letGo(func() {
		accepted := false
		for _, k := range ref.kept {
			if k.provision == nil {
				continue
			}
			k.provision.visit(func(x *provision) []outcome {
				out := x.end(failed("the introducer has let go of the call"))
				accepted = accepted || x.awaited()
				return out
			})
		}
		if !accepted {
			ref.letGoOfLeft()
		}
	}))
}

// liftKept is a Disembargo for kept results: it waits in the pipeline of the call, behind the calls that came
// before it, until what they are for is known.
type liftKept struct {
	ref *answerRef
	id  string
}

func (l *liftKept) reject(error) {}

func (l *liftKept) lift() {
	for _, k := range l.ref.kept {
		if k.provision != nil {
			k.provision.visit(func(x *provision) []outcome { return x.lift(l.id) })
		}
	}
}

// liftProvision: the Disembargo has arrived where the Accept waits. For a Provide it comes behind the calls on
// the same road since those were put in the turns before; for kept results it takes its place among what is
// pipelined.
func (s *session) liftProvision(id uint32, embargo []byte) error {
	var a answer
	if !s.answers.visit(id, func(x *answer) { a = *x }) {
		return fault("Disembargo (accept) of answer %d, which does not exist", id)
	}
	switch {
	case a.provide && a.provides == nil:
		return nil // nobody waits
	case a.provides != nil:
		s.emit(do(func() {
			a.provides.visit(func(x *provision) []outcome { return x.lift(string(embargo)) })
		}))
		return nil
	case len(a.ref.kept) > 0:
		var now bool
		max, full := s.vat.limits.Pipelined, false
		lift := &liftKept{a.ref, string(embargo)}
		s.answers.visit(id, func(x *answer) {
			now = x.pipe.res != nil
			if full = !now && len(x.pipe.queue) >= max; !now && !full {
				x.pipe.queue = append(x.pipe.queue, pipelined{parcel: lift})
			}
		})
		switch {
		case full:
			return s.faultLimit("Pipelined", max)
		case now:
			s.emit(do(lift.lift))
		}
		return nil
	}
	return fault("Disembargo (accept) of answer %d, which is neither a Provide nor kept", id)
}
