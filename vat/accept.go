package vat

import (
	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/hook"
)

// onProvide obeys "the sender wishes to make a particular capability implemented by the receiver available to a
// third party for direct access". What is provided is the capability as it is now.
func (s *session) onProvide(p rpc.Provide) error {
	target, err := decodeTarget(p.Target())
	if err != nil {
		return err
	}
	recipient, n, _, _, err := readAwait(p.Recipient())
	if err != nil {
		return err
	}
	if n == nil {
		return fault("Provide without a nonce")
	}
	a := newAnswered()
	a.provide = true
	ref, err := s.newAnswer(p.QuestionId(), a)
	if err != nil {
		return err
	}
	to, err := s.pinTarget(target)
	if err != nil {
		return err
	}
	key := provisionKey{s.peer, *n}
	s.emit(letGo(func() { // also where the turn fails: the end of the session lets go of the provision, and so of to
		again := false
		pr, err := s.vat.provision(key, charge{s.peer, true}, func(x *provision) []outcome {
			if again = x.known; again {
				return nil
			}
			return append(x.name(recipient, ref), x.offer(result{cap: &to})...)
		})
		if again {
			err = failed("a nonce was used for two provisions")
		}
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
	what, err := s.readCompletion(a.Provision())
	if err != nil {
		return err
	}
	embargo, err := a.Embargo()
	if err != nil || len(embargo) > 64 {
		return fault("unreadable embargo id of %d bytes: %v", len(embargo), err)
	}
	ref, err := s.newAnswer(a.QuestionId(), newAnswered())
	if err != nil {
		return err
	}
	if err := notFor(s.peer, what); err != nil {
		s.vat.refused(s.peer, what.Introducer, err)
		s.emit(do(func() { ref.settle(result{err: err}) }))
		return nil
	}
	park := parked{by: s.peer, as: what.Recipient, to: ref, embargo: string(embargo), held: a.HasEmbargo() && !s.vat.breaks(hook.Provision)}
	s.emit(do(func() {
		waits := false
		pr, err := s.vat.provision(provisionKey{what.Introducer, what.Nonce}, charge{s.peer, false}, func(x *provision) []outcome {
			out := x.accept(park)
			waits = x.waits(ref)
			return out
		})
		if err != nil {
			ref.settle(result{err: err})
			return
		}
		s.answers.visit(ref.id, func(a *answer) { a.accepts = pr })
		if waits {
			ref.unexpire = s.vat.expire(pr, ref)
		}
	}))
	return nil
}

// provisionFinished tells the provisions of an answer that was finished.
func (s *session) provisionFinished(a *answer) {
	ref, running := a.ref, !a.returned
	if p := a.provides; p != nil {
		s.emit(letGo(func() {
			p.visit(func(x *provision) []outcome {
				x.provide = nil
				return x.end(errWithdrawn)
			})
			if running {
				ref.settleIfRunning()
			}
		}))
	}
	if p := a.accepts; p != nil && running {
		s.emit(letGo(func() {
			p.leave(ref)
			ref.settleIfRunning()
		}))
	}
	s.keptFinished(a)
}

// settleIfRunning cancels the answer of a Provide or Accept; too late is harmless.
func (a *answerRef) settleIfRunning() { a.settle(result{err: errCanceled}) }

// readAwait reads a ToAwait: who may accept or is answered, or who answers; the nonce, the kept results of a Call and the
// addresses of its recipient, where there are any.
func readAwait(ptr capnp.Ptr, err error) (to transport.VatID, n *nonce, kept []keptResult, addrs []string, _ error) {
	if err != nil {
		return "", nil, nil, nil, fault("unreadable recipient: %v", err)
	}
	await := transport.ToAwait(ptr.Struct())
	id, err := await.Recipient()
	if err != nil {
		return "", nil, nil, nil, fault("unreadable ToAwait: %v", err)
	}
	if to, err = transport.DecodeVatID(id); err != nil {
		return "", nil, nil, nil, fault("ToAwait: %v", err)
	}
	b, err := await.Nonce()
	if err != nil {
		return "", nil, nil, nil, fault("unreadable ToAwait: %v", err)
	}
	if len(b) > 0 {
		x, err := toNonce(b)
		if err != nil {
			return "", nil, nil, nil, err
		}
		n = &x
	}
	if addrs, err = readAddresses(await.Addresses()); err != nil {
		return "", nil, nil, nil, err
	}
	kept, err = readKept(await)
	return to, n, kept, addrs, err
}
