package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// turnsInline is how many turns a poster runs before it leaves the rest to the runner: enough for a call
// and what it sets off, few enough that a busy session does not keep one caller for itself.
const turnsInline = 16

// A Queue is the mailbox of an actor that several goroutines post to: enqueue, then run. Enqueueing and
// running come apart, since a poster may hold a lock under which nothing of ours may run:
//
//   - [Queue.Enqueue] puts a message in, and runs nothing;
//   - [Queue.Run] runs turns on this goroutine if the queue is idle, a bounded number of them;
//   - [Queue.Wake] has a goroutine of the queue's own run them.
//
// A message that was enqueued is run once one of the two has been called after it. Turns run one at a time,
// messages in the order of Enqueue. System messages of protoactor go first.
//
// States: open (takes messages), closed (refuses them; Close returned what was left).
type Queue struct {
	// dispatcher, where set, gets all turns, and Run does no more than Wake: for tests that pick the
	// next mailbox themselves.
	dispatcher actor.Dispatcher
	runners    *Runners // nil: a new goroutine each time
	invoker    actor.MessageInvoker

	mu        sync.Mutex
	user      fifo[any]
	sys       fifo[any]
	running   bool
	closed    bool
	suspended bool
	idle      sync.Cond // running became false
	room      sync.Cond // a message was taken out, or the queue was closed
	crowded   int       // who waits for room
	all       func()    // all turns: made once, for each function is allocated
}

// NewQueue makes an open queue for one actor. dispatcher may be nil: turns run on posters' goroutines and
// on goroutines that the queue starts on demand.
func NewQueue(dispatcher actor.Dispatcher) *Queue {
	q := &Queue{dispatcher: dispatcher}
	q.idle.L, q.room.L = &q.mu, &q.mu
	limit := throughput(dispatcher)
	q.all = func() { q.turns(limit) }
	return q
}

// By has q run its turns by r, where no poster does. It is to be called before the first message.
func (q *Queue) By(r *Runners) *Queue {
	q.runners = r
	return q
}

// throughput is how many turns, or tasks, a dispatcher gets at a time; all where it does not say.
func throughput(d actor.Dispatcher) int {
	if d == nil || d.Throughput() <= 0 {
		return -1
	}
	return d.Throughput()
}

// Props has the actor use q. A queue serves one actor.
func (q *Queue) Props() actor.PropsOption {
	return actor.WithMailbox(func() actor.Mailbox { return q })
}

var _ actor.Mailbox = (*Queue)(nil)

// Enqueue puts msg behind all that was enqueued before and reports whether it was taken. It is not when
// the queue is closed: msg is then the caller's to answer.
func (q *Queue) Enqueue(msg any) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.user.push(msg)
	return true
}

// Run runs turns on this goroutine, up to a bound, unless another already does.
func (q *Queue) Run() {
	if q.dispatcher != nil {
		q.Wake()
		return
	}
	if q.start() {
		q.turns(turnsInline)
	}
}

// Wake sees to it that all that is enqueued is run, on another goroutine.
func (q *Queue) Wake() {
	if q.start() {
		q.schedule()
	}
}

func (q *Queue) schedule() {
	if q.dispatcher != nil {
		q.dispatcher.Schedule(q.all)
		return
	}
	if q.runners == nil {
		go q.all()
		return
	}
	q.runners.Go(q.all)
}

// start makes the caller the one who runs turns, if there are any to run and nobody does.
func (q *Queue) start() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running || !q.runnable() {
		return false
	}
	q.running = true
	return true
}

func (q *Queue) runnable() bool {
	return q.sys.len() > 0 || (q.user.len() > 0 && !q.suspended)
}

// turns runs up to limit turns (all for a negative limit), then leaves what remains to another goroutine.
func (q *Queue) turns(limit int) {
	for n := 0; ; n++ {
		q.mu.Lock()
		if !q.runnable() {
			q.running = false
			q.idle.Broadcast()
			q.mu.Unlock()
			return
		}
		if n == limit {
			q.mu.Unlock()
			q.schedule()
			return
		}
		msg, system := q.next()
		q.mu.Unlock()
		q.turn(msg, system)
	}
}

func (q *Queue) next() (msg any, system bool) {
	if q.sys.len() > 0 {
		return q.sys.pop(), true
	}
	msg = q.user.pop()
	if q.crowded > 0 {
		q.room.Broadcast()
	}
	return msg, false
}

// AwaitRoom blocks while limit messages or more wait. Not for use within a turn, nor under a lock that a turn
// may want.
func (q *Queue) AwaitRoom(limit int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.crowded++
	for q.user.len() >= limit && !q.closed {
		q.room.Wait()
	}
	q.crowded--
}

func (q *Queue) turn(msg any, system bool) {
	defer func() {
		if r := recover(); r != nil {
			q.invoker.EscalateFailure(r, msg)
		}
	}()
	if !system {
		q.invoker.InvokeUserMessage(msg)
		return
	}
	switch msg.(type) {
	case *actor.SuspendMailbox:
		q.suspend(true)
	case *actor.ResumeMailbox:
		q.suspend(false)
	default:
		q.invoker.InvokeSystemMessage(msg)
	}
}

func (q *Queue) suspend(s bool) {
	q.mu.Lock()
	q.suspended = s
	q.mu.Unlock()
}

// Close refuses all further messages and returns those not yet run, in order.
func (q *Queue) Close() []any {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.room.Broadcast()
	return q.user.takeAll()
}

// CloseIfEmpty is Close if no message waits, and reports whether that is so.
func (q *Queue) CloseIfEmpty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.user.len() > 0 {
		return false
	}
	q.closed = true
	q.room.Broadcast()
	return true
}

// Take returns what waits, in order, for whoever runs the turns itself: a test of what is behind the queue.
func (q *Queue) Take() []any {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.user.takeAll()
}

// WaitIdle blocks until no turn runs and none is left to run. Not for use within a turn.
func (q *Queue) WaitIdle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.running || q.runnable() {
		q.idle.Wait()
	}
}

// PostUserMessage is Enqueue, then Wake: for senders that know a PID only.
func (q *Queue) PostUserMessage(msg any) {
	if q.Enqueue(msg) {
		q.Wake()
	}
}

// PostSystemMessage takes messages of protoactor's own, also once closed: Stop is one.
func (q *Queue) PostSystemMessage(msg any) {
	q.mu.Lock()
	q.sys.push(msg)
	q.mu.Unlock()
	q.Wake()
}

// RegisterHandlers is called by protoactor as it spawns the actor.
func (q *Queue) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	q.invoker = invoker
}

// Start is called by protoactor once the actor is registered.
func (q *Queue) Start() {}

// UserMessageCount is the number of messages that wait.
func (q *Queue) UserMessageCount() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.user.len()
}
