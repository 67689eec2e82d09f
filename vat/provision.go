package vat

import (
	"sync"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
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
// lifted embargoes are remembered until the provision is over, for a Disembargo may come before its Accept.
type provision struct {
	recipient transport.VatID
	provide   *answerRef // of the Provide, until it is returned
	known     bool
	ready     bool
	res       result // ready: an exception or one capability
	over      error
	accepted  bool
	accepts   []parked
	lifted    map[string]bool
}

// parked is an Accept that waits.
type parked struct {
	by      transport.VatID
	ref     *answerRef
	embargo string
	held    bool // it has an embargo
}

// An outcome is a result for an answer: of an Accept, or of the Provide.
type outcome struct {
	to  *answerRef
	res result
}

const maxLifted = 64 // embargo ids remembered of one provision

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
	return p.settle()
}

// accept takes one Accept. It parks unless all is there.
func (p *provision) accept(a parked) []outcome {
	if p.known && a.by != p.recipient {
		return []outcome{{a.ref, result{err: &refusal{a.by, p.recipient}}}}
	}
	if p.over != nil {
		return []outcome{{a.ref, result{err: p.over}}}
	}
	p.accepts = append(p.accepts, a)
	if !p.known {
		return nil
	}
	p.accepted = true
	out := []outcome{}
	if p.provide != nil {
		out = append(out, outcome{p.provide, result{}})
		p.provide = nil
	}
	return append(out, p.settle()...)
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
	return p.settle()
}

// settle answers every Accept that needs not wait any longer.
func (p *provision) settle() []outcome {
	if !p.ready || !p.known {
		return nil
	}
	var out []outcome
	var wait []parked
	for _, a := range p.accepts {
		if a.held && !p.lifted[a.embargo] {
			wait = append(wait, a)
			continue
		}
		out = append(out, outcome{a.ref, p.copyOf()})
	}
	p.accepts = wait
	return out
}

// copyOf is the result for one more Accept.
func (p *provision) copyOf() result {
	if p.res.err != nil || p.res.cap == nil {
		return p.res
	}
	c := p.res.cap.again()
	return result{cap: &c, release: c.free}
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
		out = append(out, outcome{a.ref, result{err: why}})
	}
	p.accepts = wait
	return out
}

// leave forgets the Accept of ref: it was finished, or its session ended.
func (p *provision) leave(ref *answerRef) {
	for i, a := range p.accepts {
		if a.ref == ref {
			p.accepts = append(p.accepts[:i], p.accepts[i+1:]...)
			return
		}
	}
}

func (p *provision) done() bool { return len(p.accepts) == 0 && (p.over != nil || !p.known) }

// A refusal is what a vat sees that asks for a provision that is not for it.
type refusal struct{ by, recipient transport.VatID }

func (r *refusal) Error() string {
	return "the provision is not for " + r.by.Short()
}

// provisionKey: "Nonces are unique for each introducer". The recipient is not in it, so that who asks for what
// is not his is told so, and at once.
type provisionKey struct {
	introducer transport.VatID
	nonce      nonce
}

// A provisionRef is a provision to those who tell it things. Its actor runs inline and enqueues at most.
type provisionRef struct {
	vat  *Vat
	key  provisionKey
	name string
	pid  *actor.PID
}

type visitProvision struct {
	f    func(*provision) []outcome
	done bool
}

type provisionActor struct {
	state provision
}

func (a *provisionActor) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*visitProvision); ok {
		for _, o := range m.f(&a.state) {
			o.to.settle(o.res)
		}
		m.done = true
	}
}

// provisions is the table of a vat's provisions.
type provisions struct {
	mu   sync.Mutex
	live map[provisionKey]*provisionRef
	// Keys that are done with: a late Accept is told so instead of being parked. A ring, so bounded.
	tombs map[provisionKey]bool
	ring  []provisionKey
	next  int
}

const tombstones = 4096

// provision visits the provision of key, which is made if need be.
func (v *Vat) provision(key provisionKey, f func(*provision) []outcome) (*provisionRef, error) {
	t := &v.provisions
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.live[key]
	if !ok {
		if t.tombs[key] {
			return nil, failed("the provision is over")
		}
		if max := v.limits.Provisions; len(t.live) >= max {
			return nil, overloaded("%d provisions are open: Limits.Provisions", max)
		}
		p = &provisionRef{vat: v, key: key}
		p.name = "provision/" + key.nonce.String() + "-" + v.serialName()
		pid, err := v.spawn(p.name,
			actor.PropsFromProducer(func() actor.Actor { return &provisionActor{} }, actors.Inline()))
		if err != nil {
			return nil, err
		}
		p.pid = pid
		t.live[key] = p
		v.nodes.add(p.name, p.node)
	}
	if !p.visitLocked(f) {
		return nil, failed("the provision has failed")
	}
	return p, nil
}

// visit runs f on a provision that may be gone by now.
func (p *provisionRef) visit(f func(*provision) []outcome) {
	t := &p.vat.provisions
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live[p.key] == p {
		p.visitLocked(f)
	}
}

func (p *provisionRef) visitLocked(f func(*provision) []outcome) bool {
	var over bool
	var res result
	m := &visitProvision{f: func(s *provision) []outcome {
		out := f(s)
		over, res = s.done(), s.res
		return out
	}}
	p.vat.system.Root.Send(p.pid, m)
	if over || !m.done {
		p.vat.provisions.bury(p.key)
		p.vat.nodes.remove(p.name)
		p.vat.system.Root.Stop(p.pid)
		p.vat.later(res.free)
	}
	return m.done
}

func (t *provisions) bury(key provisionKey) {
	delete(t.live, key)
	if t.tombs == nil {
		t.tombs = map[provisionKey]bool{}
	}
	if len(t.ring) < tombstones {
		t.ring = append(t.ring, key)
	} else {
		delete(t.tombs, t.ring[t.next])
		t.ring[t.next] = key
		t.next = (t.next + 1) % tombstones
	}
	t.tombs[key] = true
}

// onProvide obeys "the sender wishes to make a particular capability implemented by the receiver available to a
// third party for direct access". What is provided is the capability as it is now.
func (s *session) onProvide(p rpc.Provide) error {
	target, err := decodeTarget(p.Target())
	if err != nil {
		return err
	}
	recipient, n, _, err := readAwait(p.Recipient())
	if err != nil {
		return err
	}
	if n == nil {
		return fault("Provide without a nonce")
	}
	ref, err := s.newAnswer(p.QuestionId(), &answer{})
	if err != nil {
		return err
	}
	to, err := s.pinTarget(target)
	if err != nil {
		return err
	}
	key := provisionKey{s.peer, *n}
	s.emit(do(func() {
		pr, err := s.vat.provision(key, func(x *provision) []outcome {
			if x.known {
				return []outcome{{ref, result{err: failed("a nonce was used for two provisions")}}}
			}
			return append(x.name(recipient, ref), x.offer(result{cap: &to, release: to.free})...)
		})
		if err != nil {
			s.vat.freeLater(&to)
			ref.settle(result{err: err})
			return
		}
		s.answers.visit(ref.id, func(a *answer) { a.provides = pr })
	}))
	return nil
}

// onAccept obeys "Message type sent to pick up a capability hosted by the receiving vat and provided by a third
// party".
func (s *session) onAccept(a rpc.Accept) error {
	ptr, err := a.Provision()
	if err != nil {
		return fault("unreadable Accept: %v", err)
	}
	done := transport.ToComplete(ptr.Struct())
	id, err := done.Introducer()
	if err != nil {
		return fault("unreadable ToComplete: %v", err)
	}
	introducer, err := transport.DecodeVatID(id)
	if err != nil {
		return fault("ToComplete: %v", err)
	}
	b, err := done.Nonce()
	if err != nil {
		return fault("unreadable ToComplete: %v", err)
	}
	n, err := toNonce(b)
	if err != nil {
		return err
	}
	embargo, err := a.Embargo()
	if err != nil || len(embargo) > 64 {
		return fault("unreadable embargo id of %d bytes: %v", len(embargo), err)
	}
	ref, err := s.newAnswer(a.QuestionId(), &answer{})
	if err != nil {
		return err
	}
	park := parked{by: s.peer, ref: ref, embargo: string(embargo), held: a.HasEmbargo()}
	s.emit(do(func() {
		pr, err := s.vat.provision(provisionKey{introducer, n}, func(x *provision) []outcome {
			out := x.accept(park)
			for _, o := range out {
				if _, refused := o.res.err.(*refusal); refused {
					s.vat.refused(o.to.s.peer, introducer)
				}
			}
			return out
		})
		if err != nil {
			ref.settle(result{err: err})
			return
		}
		s.answers.visit(ref.id, func(a *answer) { a.accepts = pr })
		s.vat.expire(pr, ref)
	}))
	return nil
}

// provisionFinished tells the provisions of an answer that was finished.
func (s *session) provisionFinished(a answer) {
	if p := a.provides; p != nil {
		s.emit(do(func() {
			p.visit(func(x *provision) []outcome {
				x.provide = nil
				return x.end(failed("the provision was withdrawn by its introducer"))
			})
			a.ref.settleIfRunning()
		}))
	}
	if p := a.accepts; p != nil && !a.returned {
		s.emit(do(func() {
			p.visit(func(x *provision) []outcome { x.leave(a.ref); return nil })
			a.ref.settleIfRunning()
		}))
	}
	s.keptFinished(a)
}

// settleIfRunning cancels the answer of a Provide or Accept; too late is harmless.
func (a *answerRef) settleIfRunning() { a.settle(result{err: errCanceled}) }

// readAwait reads a ToAwait: who may accept, and the nonce of a Provide or the kept results of a Call.
func readAwait(ptr capnp.Ptr, err error) (to transport.VatID, n *nonce, kept []keptResult, _ error) {
	if err != nil {
		return "", nil, nil, fault("unreadable recipient: %v", err)
	}
	await := transport.ToAwait(ptr.Struct())
	id, err := await.Recipient()
	if err != nil {
		return "", nil, nil, fault("unreadable ToAwait: %v", err)
	}
	if to, err = transport.DecodeVatID(id); err != nil {
		return "", nil, nil, fault("ToAwait: %v", err)
	}
	b, err := await.Nonce()
	if err != nil {
		return "", nil, nil, fault("unreadable ToAwait: %v", err)
	}
	if len(b) > 0 {
		x, err := toNonce(b)
		if err != nil {
			return "", nil, nil, err
		}
		n = &x
	}
	kept, err = readKept(await)
	return to, n, kept, err
}

func (p *provisionRef) node() Node {
	n := Node{Kind: "provision", Name: p.name, State: "over"}
	p.visit(func(x *provision) []outcome {
		n.Waiting = len(x.accepts)
		switch {
		case x.over != nil:
		case !x.known:
			n.State = "expected"
		case !x.ready:
			n.State = "known"
		default:
			n.State = "ready"
		}
		return nil
	})
	return n
}
