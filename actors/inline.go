package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// Inline makes an actor run on its senders' goroutines, one at a time: a user message has been dealt with
// when the send returns, unless the actor panicked, stopped or is suspended, in which case protoactor
// swallows it. So a sender that needs to know puts a place for the result into the message.
//
// For actors that only change their state and enqueue elsewhere. One that sends to itself deadlocks.
func Inline() actor.PropsOption {
	return actor.WithMailbox(func() actor.Mailbox { return &inlineMailbox{} })
}

// inlineMailbox has a turn lock and a queue for system messages.
//
// System messages (Started, Stop, a child's Failure) may be posted by the goroutine that is inside the turn:
// a panic is escalated to the parent, whose answer is to stop the child. So they are queued, and whoever
// holds the turn drains them before giving it up, and looks again after, lest one was queued in between.
type inlineMailbox struct {
	turn      sync.Mutex
	suspended bool // guarded by turn

	sysMu  sync.Mutex
	sys    []any
	system atomic.Bool // sys is not empty: looked at for each message, so without the lock

	invoker actor.MessageInvoker
}

var _ actor.Mailbox = (*inlineMailbox)(nil)

func (m *inlineMailbox) PostUserMessage(msg any) {
	m.turn.Lock()
	m.drainSystem()
	if !m.suspended {
		m.invoke(msg)
	}
	m.drainSystem()
	m.turn.Unlock()
	m.runSystem()
}

func (m *inlineMailbox) PostSystemMessage(msg any) {
	m.sysMu.Lock()
	m.sys = append(m.sys, msg)
	m.system.Store(true)
	m.sysMu.Unlock()
	m.runSystem()
}

// runSystem drains the system queue unless somebody who will do so holds the turn.
func (m *inlineMailbox) runSystem() {
	for m.system.Load() && m.turn.TryLock() {
		m.drainSystem()
		m.turn.Unlock()
	}
}

func (m *inlineMailbox) drainSystem() {
	for m.system.Load() {
		m.sysMu.Lock()
		msg := m.sys[0] // only who holds the turn takes one out
		if m.sys = m.sys[1:]; len(m.sys) == 0 {
			m.sys = nil
			m.system.Store(false)
		}
		m.sysMu.Unlock()
		m.invokeSystem(msg)
	}
}

func (m *inlineMailbox) invoke(msg any) {
	defer m.escalate(msg)
	m.invoker.InvokeUserMessage(msg)
}

func (m *inlineMailbox) invokeSystem(msg any) {
	defer m.escalate(msg)
	switch msg.(type) {
	case *actor.SuspendMailbox:
		m.suspended = true
	case *actor.ResumeMailbox:
		m.suspended = false
	default:
		m.invoker.InvokeSystemMessage(msg)
	}
}

// escalate must be deferred itself: recover works in no other place.
func (m *inlineMailbox) escalate(msg any) {
	if r := recover(); r != nil {
		m.invoker.EscalateFailure(r, msg)
	}
}

func (m *inlineMailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = invoker
}

func (m *inlineMailbox) Start() {}

// UserMessageCount is none: it is the senders that wait.
func (m *inlineMailbox) UserMessageCount() int { return 0 }
