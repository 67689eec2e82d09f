package actors

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// invoked is a MessageInvoker that hands every message to user, on the goroutine of the turn.
type invoked struct {
	user   func(any)
	system func(any)

	mu     sync.Mutex
	failed []any
}

func (i *invoked) InvokeUserMessage(msg any) { i.user(msg) }

func (i *invoked) InvokeSystemMessage(msg any) {
	if i.system != nil {
		i.system(msg)
	}
}

func (i *invoked) EscalateFailure(reason, _ any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failed = append(i.failed, reason)
}

// newQueue is a queue whose turns are user.
func newQueue(user func(any)) *Queue {
	q := NewQueue(nil)
	q.RegisterHandlers(&invoked{user: user}, nil)
	return q
}

// stepper is a dispatcher that runs nothing by itself.
type stepper struct {
	runs  []func()
	turns int // at a time; 0: all
}

func (s *stepper) Schedule(f func()) { s.runs = append(s.runs, f) }
func (s *stepper) Throughput() int   { return s.turns }
func (s *stepper) step()             { f := s.runs[0]; s.runs = s.runs[1:]; f() }
func enqueueAll(q *Queue, msgs ...any) {
	for _, m := range msgs {
		q.Enqueue(m)
	}
}

func TestQueueRunsInOrder(t *testing.T) {
	var got []any
	q := newQueue(func(m any) { got = append(got, m) })
	enqueueAll(q, 1, 2, 3)
	if len(got) != 0 || q.UserMessageCount() != 3 {
		t.Fatalf("Enqueue ran %v and left %d", got, q.UserMessageCount())
	}
	q.Run()
	if want := []any{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("ran %v, want %v", got, want)
	}
}

// A poster runs a bounded number of turns. The rest goes to another goroutine.
func TestQueueRunIsBounded(t *testing.T) {
	var turns atomic.Int32
	returned := make(chan struct{})
	var q *Queue
	q = newQueue(func(any) {
		// Each turn makes work for one more. Those beyond the bound wait for Run to return, for ever if it
		// were Run that runs them.
		if turns.Add(1) > turnsInline {
			<-returned
		}
		if turns.Load() < 3*turnsInline {
			q.Enqueue(0)
		}
	})
	q.Enqueue(0)
	q.Run()
	close(returned)
	q.WaitIdle()
	if n := turns.Load(); n != 3*turnsInline {
		t.Errorf("%d turns ran, want %d", n, 3*turnsInline)
	}
}

// Run with a dispatcher leaves the turns to it, as Wake does, and schedules once for whatever waits.
func TestQueueOfADispatcher(t *testing.T) {
	d := &stepper{}
	q := NewQueue(d)
	var got []any
	q.RegisterHandlers(&invoked{user: func(m any) { got = append(got, m) }}, nil)
	enqueueAll(q, 1, 2)
	q.Run()
	q.Wake()
	q.Run()
	if len(got) != 0 || len(d.runs) != 1 {
		t.Fatalf("%v ran, %d are scheduled: want none and one", got, len(d.runs))
	}
	d.step()
	if !slices.Equal(got, []any{1, 2}) {
		t.Errorf("ran %v", got)
	}
	q.Wake()
	if len(d.runs) != 0 {
		t.Error("Wake of an empty queue scheduled something")
	}
}

// A dispatcher that takes one turn at a time gets each queue anew for the next, and so does a worker.
func TestDispatcherOfSingleTurns(t *testing.T) {
	d := &stepper{turns: 1}
	q, w := NewQueue(d), Worker{Dispatcher: d}
	var got []any
	q.RegisterHandlers(&invoked{user: func(m any) { got = append(got, m) }}, nil)
	enqueueAll(q, 1, 2)
	q.Wake()
	w.Do(func() { got = append(got, 3) })
	w.Do(func() { got = append(got, 4) })
	for len(d.runs) > 0 {
		d.step()
	}
	if !slices.Equal(got, []any{1, 3, 2, 4}) {
		t.Errorf("ran %v", got)
	}
	w.Wait()
}

// What the turn of a message enqueues runs behind what waits already, and Run within a turn runs nothing.
func TestQueueIsNotReentrant(t *testing.T) {
	var got []any
	var q *Queue
	q = newQueue(func(m any) {
		if m == 1 {
			q.Enqueue(3)
			q.Run()
		}
		got = append(got, m)
	})
	enqueueAll(q, 1, 2)
	q.Run()
	if want := []any{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("ran %v, want %v", got, want)
	}
}

func TestQueueCloseGivesBackTheRest(t *testing.T) {
	ran := 0
	q := newQueue(func(any) { ran++ })
	enqueueAll(q, 1, 2)
	if left := q.Close(); !slices.Equal(left, []any{1, 2}) {
		t.Errorf("Close returned %v", left)
	}
	if q.Enqueue(3) {
		t.Error("a closed queue took a message")
	}
	if left := q.Close(); len(left) != 0 {
		t.Errorf("the second Close returned %v", left)
	}
	q.PostUserMessage(4)
	q.Run()
	q.WaitIdle()
	if ran != 0 {
		t.Errorf("%d turns ran after Close", ran)
	}
}

// System messages go first, also when the queue is closed; between suspend and resume nothing else does.
func TestQueueSystemMessages(t *testing.T) {
	d := &stepper{}
	q := NewQueue(d)
	var got []string
	q.RegisterHandlers(&invoked{
		user:   func(m any) { got = append(got, fmt.Sprint(m)) },
		system: func(m any) { got = append(got, fmt.Sprintf("%T", m)) },
	}, nil)
	q.Enqueue(1)
	q.PostSystemMessage(&actor.Started{})
	q.PostSystemMessage(&actor.SuspendMailbox{})
	d.step()
	if want := []string{"*actor.Started"}; !slices.Equal(got, want) {
		t.Fatalf("ran %v, want %v", got, want)
	}
	q.Wake()
	if len(d.runs) != 0 {
		t.Fatal("a suspended queue scheduled user messages")
	}
	q.PostSystemMessage(&actor.ResumeMailbox{})
	d.step()
	if want := []string{"*actor.Started", "1"}; !slices.Equal(got, want) {
		t.Fatalf("ran %v, want %v", got, want)
	}
	q.Close()
	q.PostSystemMessage(&actor.Stop{})
	d.step()
	if want := []string{"*actor.Started", "1", "*actor.Stop"}; !slices.Equal(got, want) {
		t.Errorf("ran %v, want %v", got, want)
	}
}

// A turn that panics is its supervisor's business. The queue goes on.
func TestQueueSurvivesAPanic(t *testing.T) {
	inv := &invoked{}
	ran := 0
	inv.user = func(m any) {
		if m == "boom" {
			panic(m)
		}
		ran++
	}
	q := NewQueue(nil)
	q.RegisterHandlers(inv, nil)
	enqueueAll(q, "boom", "fine")
	q.Run()
	if !slices.Equal(inv.failed, []any{"boom"}) || ran != 1 {
		t.Errorf("escalated %v, ran %d others: want boom and 1", inv.failed, ran)
	}
}

func TestQueueAwaitRoom(t *testing.T) {
	q := newQueue(func(any) {})
	q.AwaitRoom(1) // there is room
	enqueueAll(q, 1, 2)
	for _, free := range []func(){
		q.Run, // takes messages out
		func() { q.Close() },
	} {
		enqueueAll(q, 3, 4)
		awaited := make(chan struct{})
		go func() {
			q.AwaitRoom(1)
			close(awaited)
		}()
		waiting := func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.crowded > 0
		}
		for !waiting() {
			select {
			case <-awaited:
				t.Fatal("AwaitRoom returned where there was no room")
			default:
				runtime.Gosched()
			}
		}
		free()
		<-awaited
	}
}

// Many posters, by all ways to post and to run: each one's messages run in its order, each once, one at a time.
func TestQueueManyPosters(t *testing.T) {
	const posters, each = 8, 500
	type message struct{ from, n int }
	var turns atomic.Int32
	var last [posters]int
	q := newQueue(func(m any) {
		if turns.Add(1) != 1 {
			t.Error("two turns at a time")
		}
		x := m.(message)
		if x.n != last[x.from]+1 {
			t.Errorf("message %d of %d after %d", x.n, x.from, last[x.from])
		}
		last[x.from] = x.n
		turns.Add(-1)
	})
	var wg sync.WaitGroup
	for from := range posters {
		wg.Go(func() {
			for n := range each {
				m := message{from, n + 1}
				switch n % 3 {
				case 0:
					q.Enqueue(m)
					q.Run()
				case 1:
					q.PostUserMessage(m)
				default:
					q.AwaitRoom(posters)
					q.Enqueue(m)
					q.Wake()
				}
			}
		})
	}
	wg.Wait()
	q.WaitIdle()
	for from, n := range last {
		if n != each {
			t.Errorf("%d messages of %d ran, want %d", n, from, each)
		}
	}
}

// Closing while others post loses nothing: each message is run, given back, or refused.
func TestQueueCloseAmongPosters(t *testing.T) {
	const posters, each = 4, 200
	var ran atomic.Int32
	q := newQueue(func(any) { ran.Add(1) })
	var refused atomic.Int32
	var wg sync.WaitGroup
	half := make(chan struct{})
	var once sync.Once
	for range posters {
		wg.Go(func() {
			for n := range each {
				if n == each/2 {
					once.Do(func() { close(half) })
				}
				if !q.Enqueue(n) {
					refused.Add(1)
					continue
				}
				q.Run()
			}
		})
	}
	<-half
	left := q.Close()
	wg.Wait()
	q.WaitIdle()
	if sum := int(ran.Load()) + int(refused.Load()) + len(left); sum != posters*each {
		t.Errorf("%d ran, %d were refused, %d given back: %d in all, want %d", ran.Load(), refused.Load(), len(left), sum, posters*each)
	}
}
