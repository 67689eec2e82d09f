package actors

import (
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// A house is an actor system with one actor at its top, which has sup supervise what is spawned below it.
type house struct {
	t      *testing.T
	system *actor.ActorSystem
	top    *actor.PID
}

type spawnBelow struct {
	props *actor.Props
	name  string
	pid   *actor.PID
	err   error
}

func newHouse(t *testing.T, sup actor.SupervisorStrategy) *house {
	t.Helper()
	h := &house{t: t, system: NewSystem(slog.New(slog.DiscardHandler))}
	h.top = h.system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*spawnBelow); ok {
			m.pid, m.err = ctx.SpawnNamed(m.props, m.name)
		}
	}, Inline(), actor.WithSupervisor(sup)))
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	_ = h.system.Root.StopFuture(h.top).Wait()
	h.system.Shutdown()
}

func (h *house) spawn(name string, props *actor.Props) *actor.PID {
	h.t.Helper()
	m := &spawnBelow{props: props, name: name}
	h.system.Root.Send(h.top, m)
	if m.err != nil || m.pid == nil {
		h.t.Fatalf("spawning %s: %v", name, m.err)
	}
	return m.pid
}

// A note is a message with a place for the result, as those are to have who send to an inline actor.
type note struct {
	panics  bool
	done    bool
	forward *actor.PID
}

// noter deals with notes.
func noter(seen *[]string) *actor.Props {
	return actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			*seen = append(*seen, "started")
		case *actor.Stopped:
			*seen = append(*seen, "stopped")
		case *note:
			if m.panics {
				panic("as told")
			}
			if m.forward != nil {
				ctx.Send(m.forward, &note{})
			}
			m.done = true
		}
	}, Inline())
}

func TestInlineIsDoneWhenSendReturns(t *testing.T) {
	h := newHouse(t, StopOnFailure(func(*actor.PID, any) {}))
	var seen []string
	pid := h.spawn("noter", noter(&seen))
	if !slices.Equal(seen, []string{"started"}) {
		t.Errorf("spawned: %v", seen)
	}
	n := &note{}
	h.system.Root.Send(pid, n)
	if !n.done {
		t.Error("Send returned before the message was dealt with")
	}
}

// Where an inline actor panics, its sender finds nothing in the place for the result, its supervisor is told once, and
// later messages are swallowed.
func TestInlinePanics(t *testing.T) {
	var told []any
	h := newHouse(t, StopOnFailure(func(_ *actor.PID, reason any) { told = append(told, reason) }))
	var seen []string
	pid := h.spawn("noter", noter(&seen))
	bad, after := &note{panics: true}, &note{}
	h.system.Root.Send(pid, bad)
	h.system.Root.Send(pid, after)
	if bad.done || after.done {
		t.Errorf("the panicking message is done: %v, the one after: %v", bad.done, after.done)
	}
	if !slices.Equal(told, []any{"as told"}) {
		t.Errorf("the supervisor was told %v", told)
	}
	if want := []string{"started", "stopped"}; !slices.Equal(seen, want) {
		t.Errorf("the actor went through %v, want %v", seen, want)
	}
}

// A failure below is dealt with by the time that the send returns, also where sender and supervisor are the same
// goroutine: one inline actor that is told by another.
func TestInlineBelowInline(t *testing.T) {
	told := 0
	h := newHouse(t, StopOnFailure(func(*actor.PID, any) { told++ }))
	var seen, seenBelow []string
	below := h.spawn("below", noter(&seenBelow))
	pid := h.spawn("noter", noter(&seen))
	n := &note{forward: below}
	h.system.Root.Send(pid, n)
	if !n.done {
		t.Error("not done")
	}
	h.system.Root.Send(below, &note{panics: true})
	n = &note{forward: below}
	h.system.Root.Send(pid, n)
	if !n.done || told != 1 {
		t.Errorf("done: %v, told %d times: an actor was harmed by another's failure", n.done, told)
	}
}

func TestInlineOneAtATime(t *testing.T) {
	const senders, each = 8, 300
	h := newHouse(t, StopOnFailure(func(*actor.PID, any) {}))
	sum := 0 // of the actor: the race detector sees if it is not
	pid := h.spawn("adder", actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*note); ok {
			sum++
			m.done = true
		}
	}, Inline()))
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				n := &note{}
				if h.system.Root.Send(pid, n); !n.done {
					t.Error("not done")
				}
			}
		})
	}
	wg.Wait()
	if sum != senders*each {
		t.Errorf("%d messages, want %d", sum, senders*each)
	}
}

// System messages that come while a turn runs, from within it and from beside, are dealt with before the turn is given
// up.
func TestInlineSystemMessages(t *testing.T) {
	m := &inlineMailbox{}
	var got []string
	m.RegisterHandlers(&invoked{
		user: func(any) {
			m.PostSystemMessage(&actor.Restart{})
			var wg sync.WaitGroup
			wg.Go(func() { m.PostSystemMessage(&actor.Stop{}) })
			wg.Wait() // it does not wait for the turn
			got = append(got, "user")
		},
		system: func(x any) {
			switch x.(type) {
			case *actor.Restart:
				got = append(got, "restart")
				m.PostSystemMessage(&actor.Watch{})
			case *actor.Stop:
				got = append(got, "stop")
			case *actor.Watch:
				got = append(got, "watch")
			}
		},
	}, nil)
	m.PostUserMessage(nil)
	if want := []string{"user", "restart", "stop", "watch"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestInlineSuspended(t *testing.T) {
	m := &inlineMailbox{}
	ran := 0
	m.RegisterHandlers(&invoked{user: func(any) { ran++ }}, nil)
	m.PostSystemMessage(&actor.SuspendMailbox{})
	m.PostUserMessage(nil)
	if ran != 0 {
		t.Error("a suspended actor took a message")
	}
	m.PostSystemMessage(&actor.ResumeMailbox{})
	m.PostUserMessage(nil)
	if ran != 1 {
		t.Errorf("%d messages were taken after it was resumed, want 1", ran)
	}
}
