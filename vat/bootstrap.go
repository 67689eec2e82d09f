package vat

import (
	"cmp"
	"context"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// Bootstrap returns the bootstrap capability of peer, at once: a promise, on which calls can be made while the
// session is being made. The caller releases it. It breaks, with the reason, when no session can be made or
// the peer offers none.
//
// addrs, such as "tcp!127.0.0.1:4711" or "unix!/run/vat.sock", are tried besides those that the vat's directory knows; a session that
// there is already is used. ctx bounds the call itself only.
func (v *Vat) Bootstrap(ctx context.Context, peer transport.VatID, addrs ...string) capnp.Client {
	if err := cmp.Or(ctx.Err(), v.closingError()); err != nil {
		return capnp.ErrorClient(err)
	}
	var c capnp.Client
	s, err := v.ask(peer, addrs, func(s *session) (err error) { c, err = s.bootstrap(); return err })
	if err != nil {
		return capnp.ErrorClient(err)
	}
	s.run()
	return c
}

// bootstrap asks for the peer's bootstrap capability. It enqueues.
func (s *session) bootstrap() (capnp.Client, error) {
	q := newWholeRef(s)
	c, ref := s.vat.newReference(pipelineRoad{q: q}, true)
	if !s.post(&askBootstrap{q, ref}) {
		q.end(s.why())
		c.Release()
		return capnp.Client{}, s.why()
	}
	return c, nil
}

type askBootstrap struct {
	q  *questionRef
	at *reference
}

func (s *session) sendBootstrap(a *askBootstrap) {
	if err := s.questionRoom(); err != nil {
		a.q.end(err)
		s.emit(letGo(func() { a.at.breakWith(err) }))
		return
	}
	a.q.entry.at = a.at
	s.send(msgBootstrap(s.ask(a.q, a.q.entry)))
}

// onBootstrap: "Get the bootstrap interface exported by the remote vat."
func (s *session) onBootstrap(b rpc.Bootstrap) error {
	a, err := s.newAnswer(b.QuestionId(), newAnswered())
	if err != nil {
		return err
	}
	res := result{err: failed("this vat offers no bootstrap capability")}
	c := s.vat.bootstrap
	if offer := s.vat.offer; offer != nil {
		c = offer(s.peer)
		s.emit(letGo(func() { s.vat.later(c.Release) }))
	}
	if c.IsValid() {
		p := s.vat.pinClient(c)
		res = result{cap: &p}
	}
	s.settleAnswer(a.id, &res)
	return nil
}
