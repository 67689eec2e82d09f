package vat

import (
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat/internal/hook"
)

// A disembargo travels behind the calls that it follows, on their road, to where they leave this vat.
type disembargo struct {
	from     *session     // who sent it to us
	loopback uint32       // senderLoopback: to be echoed to from
	accept   []byte       // context.accept: to be sent on to the provider
	provide  *questionRef // ours; nil: to whoever introduced us, whose vine is on this road
}

// reject: the road ended before the wire, and with it all that went ahead. Who waits for d must not wait for ever, nor
// may its calls go on as if d had arrived:
//
//   - the host, for an Accept, where we are the introducer: the Provide is withdrawn, and so the Accept fails at once.
//     The calls on it take the vine, along the same road, and are told why that ended. Where the road ended with the
//     session with the host, the host knows that itself.
//   - the host, where we have forwarded the contact: our session with whoever told us has ended then. He withdraws the
//     provision, for he has lost the vine that we held.
//   - the peer that has sent d, for its echo: the session ends.
func (d *disembargo) reject(why error) {
	switch {
	case d.provide != nil:
		d.provide.s.tellOr(&withdraw{d.provide}, d.provide.drop)
	case d.accept == nil:
		d.from.tell(&orderLost{why})
	}
}

type (
	// withdraw ends a Provide, whoever holds it still. It takes over a hold.
	withdraw struct{ q *questionRef }
	// orderLost ends a session whose peer waits for a Disembargo that has been lost.
	orderLost struct{ why error }
)

func (e *orderLost) Error() string {
	return "order that cannot be kept: a Disembargo is lost: " + e.why.Error()
}

// withdrawn is for a Provide alone: what was pipelined on a call may be under way.
func (s *session) withdrawn(q *questionRef) {
	s.emit(letGo(q.drop))
	x := s.questions.get(q.id)
	switch {
	case q.gone != nil || !q.asked || x.to != nil || x.kept || x.finished:
	case !x.returned:
		s.givenUp(x.giveUp(), nil)
	default:
		x.finished = true
		s.send(msgFinish(q.id))
		s.forget(q.id, q)
	}
}

// strayed ends a Disembargo that has come to an object of this vat. Who sends one with senderLoopback has
// been told that the promise leads back to it, or has made that up: then it would wait for ever, and so it is told.
func strayed(p parcel) {
	if d, ok := p.(*disembargo); ok && d.accept == nil {
		d.from.fault("Disembargo (senderLoopback) on what does not lead back to its sender")
		return
	}
	p.reject(failed("a Disembargo for an object that is hosted here"))
}

// askDisembargo has the session send one, from its own mailbox and so behind the calls that are in it.
type askDisembargo struct {
	target   wireTarget
	loopback uint32
	accept   []byte
	q        *questionRef // target is its answer: held until this has gone
	leaves   *importRef   // whose callers have another road now; nil if none have
}

// apply has it asked for: it is an effect, of a turn in whose mailbox there are calls that it has to be behind.
func (a *askDisembargo) apply(s *session) { s.tellOr(a, a.letGo) }

func (a *askDisembargo) discard(*session, error) { a.letGo() }

// letGo is for one that is not sent.
func (a *askDisembargo) letGo() {
	if a.q != nil {
		a.q.drop()
	}
}

// tellDisembargo is for turns of s.
func (s *session) tellDisembargo(a *askDisembargo) {
	if s.vat.breaks(hook.OwnMailbox) {
		s.sendDisembargo(a)
		s.tell(&echo{func() {}}) // for a turn to send it in
		return
	}
	s.tell(a)
}

func (s *session) sendDisembargo(a *askDisembargo) {
	defer a.letGo()
	if a.q != nil && a.q.gone != nil {
		return
	}
	if a.leaves != nil {
		a.leaves.gone = true
	}
	m, ctx := msgDisembargo(a.target)
	if a.accept != nil {
		check(ctx.SetAccept(a.accept))
	} else {
		ctx.SetSenderLoopback(a.loopback)
	}
	s.send(m)
}

// passDisembargo takes one that has come down a road of this session, on which target is where calls go.
func (s *session) passDisembargo(target wireTarget, d *disembargo) {
	if d.provide != nil {
		s.sendAcceptDisembargo(d)
		return
	}
	if d.accept != nil {
		m, ctx := msgDisembargo(target)
		check(ctx.SetAccept(d.accept))
		s.send(m)
		return
	}
	if d.from != s {
		d.from.fault("Disembargo (senderLoopback) on a promise that does not resolve back to its sender")
		return
	}
	// "As soon as the receiver has echoed back all pipelined calls on this promise, it will deliver the
	// Disembargo back to the sender with receiverLoopback set to the same value."
	m, ctx := msgDisembargo(target)
	ctx.SetReceiverLoopback(d.loopback)
	s.send(m)
}

// sendAcceptDisembargo: "If target is the variant promisedAnswer, then it specifies the QuestionId of the
// Provide operation which initiated this handoff." Its transform stays null.
func (s *session) sendAcceptDisembargo(d *disembargo) {
	q := d.provide
	s.emit(letGo(q.drop))
	if q.s != s || q.gone != nil || !q.asked {
		return // the Provide is finished: nobody waits for this any more
	}
	m, ctx := msgDisembargo(wireTarget{onAnswer: true, id: q.id})
	check(ctx.SetAccept(d.accept))
	s.send(m)
}

// onDisembargo takes a Disembargo in each of its contexts.
func (s *session) onDisembargo(d rpc.Disembargo) error {
	switch ctx := d.Context(); ctx.Which() {
	case rpc.Disembargo_context_Which_receiverLoopback:
		return s.lift(ctx.ReceiverLoopback())
	case rpc.Disembargo_context_Which_senderLoopback:
		target, err := decodeTarget(d.Target())
		if err != nil {
			return err
		}
		return s.follow(target, &disembargo{from: s, loopback: ctx.SenderLoopback()})
	case rpc.Disembargo_context_Which_accept:
		id, err := ctx.Accept()
		if err != nil {
			return fault("unreadable Disembargo: %v", err)
		}
		target, err := decodeTarget(d.Target())
		if err != nil {
			return err
		}
		return s.onAcceptDisembargo(target, append([]byte{}, id...))
	}
	return fault("Disembargo in a context of unknown kind %d", d.Context().Which())
}

// follow sends d down the road that calls on target take. It can only be for what has resolved, in a Resolve or
// a Return: elsewhere it would wait for ever.
func (s *session) follow(target wireTarget, d *disembargo) error {
	known := false
	if target.onAnswer {
		s.answers.visit(target.id, func(a *answer) { known = a.returned })
		if !known {
			return fault("Disembargo of answer %d, which has not returned", target.id)
		}
		return s.putAnswer(target, d)
	}
	s.exports.visit(target.id, func(e *export) { known = e.resolved })
	if !known {
		return fault("Disembargo of export %d, which is not a resolved promise", target.id)
	}
	return s.putExport(target.id, d)
}

// onAcceptDisembargo: addressed to an export, it is on its way from the recipient through us to the provider;
// addressed to an answer, we are the provider, and it has arrived.
func (s *session) onAcceptDisembargo(target wireTarget, id []byte) error {
	if max := 64; len(id) > max {
		return fault("Disembargo with an embargo id of %d bytes, more than %d", len(id), max)
	}
	if target.onAnswer {
		return s.liftProvision(target.id, id)
	}
	var intro *introduction
	if !s.exports.visit(target.id, func(e *export) { intro = e.intro }) {
		return fault("Disembargo of export %d, which does not exist", target.id)
	}
	if intro == nil {
		return fault("Disembargo (accept) of export %d, which was not introduced", target.id)
	}
	if intro.provide != nil {
		intro.provide.hold()
	}
	return s.putExport(target.id, &disembargo{from: s, accept: id, provide: intro.provide})
}
