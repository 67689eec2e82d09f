package actors_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"capnproto.org/go/capnp/v3/exc"
	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
)

// newSystem is one that is shut down at the end of the test.
func newSystem(t *testing.T) *actor.ActorSystem {
	t.Helper()
	system := actors.NewSystem(slog.New(slog.NewTextHandler(io.Discard, nil)))
	t.Cleanup(system.Shutdown)
	return system
}

// spawn starts a plain actor that is stopped at the end of the test.
func spawn(t *testing.T, system *actor.ActorSystem, receive actor.ReceiveFunc) *actor.PID {
	t.Helper()
	pid := system.Root.Spawn(actor.PropsFromFunc(receive))
	t.Cleanup(func() { _ = system.Root.StopFuture(pid).Wait() })
	return pid
}

// askers counts what is registered for Ask: nothing of them may be left.
func askers(system *actor.ActorSystem) (n int) {
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		for id := range bucket.Items() {
			if len(id) > 3 && id[:3] == "ask" {
				n++
			}
		}
	}
	return n
}

func TestAsk(t *testing.T) {
	system := newSystem(t)
	refusal := exc.New(exc.Overloaded, "", "not today")
	pid := spawn(t, system, func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case string:
			ctx.Respond("got " + m)
		case int:
			ctx.Respond(refusal)
		}
	})
	order := 0
	got, err := actors.Ask[string](t.Context(), system, pid, "it", func() { order++ })
	if err != nil || got != "got it" {
		t.Errorf("asked: %q, %v", got, err)
	}
	if order != 1 {
		t.Errorf("sent was called %d times", order)
	}
	if got, err := actors.Ask[any](t.Context(), system, pid, "any", nil); err != nil || got != "got any" {
		t.Errorf("asked for anything: %v, %v", got, err)
	}
	if _, err := actors.Ask[string](t.Context(), system, pid, 1, nil); !errors.Is(err, refusal) {
		t.Errorf("a response that is an error came as %v", err)
	}
	if _, err := actors.Ask[int](t.Context(), system, pid, "x", nil); exc.TypeOf(err) != exc.Failed || err == nil {
		t.Errorf("a response of the wrong type came as %v", err)
	}
	if n := askers(system); n != 0 {
		t.Errorf("%d askers are left", n)
	}
}

// Requests are in the mailbox once sent has been called, in that order, however long the answers take.
func TestAskKeepsOrder(t *testing.T) {
	const n = 100
	system := newSystem(t)
	var seen []int
	var senders []*actor.PID
	pid := spawn(t, system, func(ctx actor.Context) {
		i, ok := ctx.Message().(int)
		if !ok {
			return
		}
		if seen, senders = append(seen, i), append(senders, ctx.Sender()); len(seen) == n { // all wait for the last
			for i, s := range senders {
				ctx.Send(s, seen[i])
			}
		}
	})
	replies := make(chan error, n)
	for i := range n {
		sent := make(chan struct{})
		go func() {
			got, err := actors.Ask[int](context.Background(), system, pid, i, func() { close(sent) })
			if err == nil && got != i {
				err = errors.New("another's response")
			}
			replies <- err
		}()
		<-sent
	}
	for range n {
		if err := <-replies; err != nil {
			t.Error(err)
		}
	}
	for i, got := range seen {
		if got != i {
			t.Fatalf("request %d came as number %d", got, i)
		}
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	system := newSystem(t)
	asked := make(chan *actor.PID, 1)
	pid := spawn(t, system, func(ctx actor.Context) {
		if _, ok := ctx.Message().(string); ok {
			asked <- ctx.Sender()
		}
	})
	why := errors.New("no time")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := actors.Ask[string](ctx, system, pid, "x", nil)
		done <- err
	}()
	sender := <-asked
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
	if n := askers(system); n != 0 {
		t.Errorf("%d askers are left", n)
	}
	system.Root.Send(sender, "too late") // to nobody
	sent := false
	if _, err := actors.Ask[string](ctx, system, pid, "y", func() { sent = true }); !errors.Is(err, why) || sent {
		t.Errorf("asked with a context that had ended: %v, sent %v", err, sent)
	}
}

func TestAskOfAnActorThatStops(t *testing.T) {
	system := newSystem(t)
	pid := spawn(t, system, func(ctx actor.Context) {
		if ctx.Message() == "last" {
			ctx.Stop(ctx.Self())
		}
	})
	// Both are in the mailbox: one is dealt with and not answered, the other is dropped.
	done := make(chan error, 2)
	for _, m := range []string{"last", "later"} {
		sent := make(chan struct{})
		go func() {
			_, err := actors.Ask[string](context.Background(), system, pid, m, func() { close(sent) })
			done <- err
		}()
		<-sent
	}
	for range 2 {
		if err := <-done; exc.TypeOf(err) != exc.Disconnected {
			t.Errorf("an actor that stops: %v, want disconnected", err)
		}
	}
	if _, err := actors.Ask[string](context.Background(), system, pid, "x", nil); exc.TypeOf(err) != exc.Disconnected {
		t.Errorf("an actor that has stopped: %v, want disconnected", err)
	}
	if n := askers(system); n != 0 {
		t.Errorf("%d askers are left", n)
	}
}

// An actor that runs on its sender's goroutine has answered before the wait begins.
func TestAskInline(t *testing.T) {
	system := newSystem(t)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(string); ok {
			ctx.Respond("here")
		}
	}, actors.Inline()))
	defer func() { _ = system.Root.StopFuture(pid).Wait() }()
	if got, err := actors.Ask[string](t.Context(), system, pid, "x", nil); err != nil || got != "here" {
		t.Errorf("%q, %v", got, err)
	}
}

// futureAnswer is a call under way.
type futureAnswer struct {
	done chan struct{}
	text string
	err  error
}

func (a *futureAnswer) Struct() (string, error) { <-a.done; return a.text, a.err }

func TestPipeTo(t *testing.T) {
	system := newSystem(t)
	got := make(chan any, 1)
	pid := spawn(t, system, func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case string, error:
			got <- m
		}
	})
	failure := errors.New("failed")
	for _, c := range []struct {
		name string
		ans  *futureAnswer
		want any
	}{
		{"results", &futureAnswer{done: make(chan struct{}), text: "it"}, "it"},
		{"an error", &futureAnswer{done: make(chan struct{}), err: failure}, failure},
	} {
		t.Run(c.name, func(t *testing.T) {
			released := make(chan struct{})
			actors.PipeTo(system, pid, c.ans, func() { close(released) }, func(text string, err error) any {
				select {
				case <-released:
					t.Error("the results were released before the message was made")
				default:
				}
				if err != nil {
					return err
				}
				return text
			})
			system.Root.Send(pid, "meanwhile")
			if m := <-got; m != "meanwhile" {
				t.Errorf("got %v while the call is under way", m)
			}
			close(c.ans.done)
			if m := <-got; m != c.want {
				t.Errorf("got %v, want %v", m, c.want)
			}
			<-released
		})
	}
}

func TestPipeToNobody(t *testing.T) {
	system := newSystem(t)
	pid := spawn(t, system, func(ctx actor.Context) {
		if s, ok := ctx.Message().(string); ok {
			t.Errorf("got %q", s)
		}
	})
	ans := &futureAnswer{done: make(chan struct{}), text: "it"}
	close(ans.done)
	released := make(chan struct{})
	actors.PipeTo(system, pid, ans, func() { close(released) }, func(string, error) any { return nil }) // nothing to say
	<-released
	_ = system.Root.StopFuture(pid).Wait()
	released = make(chan struct{})
	actors.PipeTo(system, pid, ans, func() { close(released) }, func(s string, _ error) any { return s })
	<-released
}
