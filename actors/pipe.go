package actors

import (
	"capnproto.org/go/capnp/v3"
	"github.com/asynkron/protoactor-go/actor"
)

// An Answer is what a generated method of a client returns first: the results, once Struct does not block any more.
type Answer[R any] interface {
	Struct() (R, error)
}

// PipeTo has the result of a call sent to an actor as a message, so that the actor calls a capability without
// blocking its mailbox. answer and release are what the call returned, which are PipeTo's from now on. It
// does not wait:
//
//	answer, release := greeter.Greet(ctx, params)
//	actors.PipeTo(ctx.ActorSystem(), ctx.Self(), answer, release, func(r Greeter_greet_Results, err error) any { ... })
//
// message makes the message, on a goroutine of PipeTo's: so it must touch nothing of the actor's state. The results
// are good until it returns: it copies what the actor is to have, and AddRefs references. A nil message is not sent.
//
// message is called exactly once, when the call has ended in whatever way. Messages of several calls come in the
// order in which the calls end. What is sent to an actor that has stopped is lost, as in protoactor, and references
// in it are never released: so end the context of the calls as the actor stops, and PipeTo's goroutines end with them.
func PipeTo[R any](system *actor.ActorSystem, to *actor.PID, answer Answer[R], release capnp.ReleaseFunc, message func(R, error) any) {
	go func() {
		defer release()
		if msg := message(answer.Struct()); msg != nil {
			system.Root.Send(to, msg)
		}
	}()
}
