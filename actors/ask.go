package actors

import (
	"context"
	"fmt"

	"capnproto.org/go/capnp/v3/exc"
	"github.com/asynkron/protoactor-go/actor"
)

// Ask sends msg to an actor as a request and waits for its response: for methods of a capability behind which there
// is a plain actor. sent, if not nil, is called once msg is in the actor's mailbox: given call.Go, the next call
// is taken while this one waits, and requests are in the mailbox in the order of the calls.
//
// A response that is an error comes back as the error; one that is neither that nor an R is an error of type
// failed. The wait ends with ctx, whose cause is the error then, and when the actor has stopped: disconnected,
// and what had been sent may have been dealt with. An actor that answers through another one has to outlive the
// other's answer. One that panics over msg and is restarted does not answer: a ctx that never ends waits for ever.
func Ask[R any](ctx context.Context, system *actor.ActorSystem, to *actor.PID, msg any, sent func()) (R, error) {
	reply, err := ask(ctx, system, to, msg, sent)
	var none R
	if err != nil {
		return none, err
	}
	switch x := reply.(type) {
	case error:
		return none, x
	case R:
		return x, nil
	}
	return none, exc.New(exc.Failed, "", fmt.Sprintf("actor %s answered %T with %T, want %T", to.GetId(), msg, reply, none))
}

func ask(ctx context.Context, system *actor.ActorSystem, to *actor.PID, msg any, sent func()) (any, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	a := &asker{response: make(chan any, 1)}
	self, _ := system.ProcessRegistry.Add(a, "ask"+system.ProcessRegistry.NextId()) // ids come once
	defer system.ProcessRegistry.Remove(self)
	// Where the actor is gone already, the watch is what says so: requests that are in the mailbox of an actor
	// that stops are dropped without a word.
	tell := func(m any) {
		p, _ := system.ProcessRegistry.Get(to)
		p.SendSystemMessage(to, m)
	}
	tell(&actor.Watch{Watcher: self})
	defer tell(&actor.Unwatch{Watcher: self})
	system.Root.RequestWithCustomSender(to, msg, self)
	if sent != nil {
		sent()
	}
	select {
	case r := <-a.response:
		if _, gone := r.(*actor.Terminated); gone {
			return nil, exc.New(exc.Disconnected, "", "actor "+to.GetId()+" has stopped")
		}
		return r, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// An asker is the sender of one request: the first thing that it gets, a response or that the actor has ended, is
// what the request comes to. It is no protoactor future, which needs a timeout and does not see an actor stop.
type asker struct{ response chan any }

var _ actor.Process = (*asker)(nil)

// SendUserMessage implements actor.Process.
func (a *asker) SendUserMessage(_ *actor.PID, message any) {
	_, msg, _ := actor.UnwrapEnvelope(message)
	if _, lost := msg.(*actor.DeadLetterResponse); lost {
		msg = &actor.Terminated{}
	}
	a.offer(msg)
}

// SendSystemMessage implements actor.Process.
func (a *asker) SendSystemMessage(_ *actor.PID, message any) {
	if _, gone := message.(*actor.Terminated); gone {
		a.offer(message)
	}
}

// Stop implements actor.Process: there is nothing to stop.
func (a *asker) Stop(*actor.PID) {}

func (a *asker) offer(msg any) {
	select {
	case a.response <- msg:
	default:
	}
}
