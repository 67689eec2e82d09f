package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// A Worker runs functions one at a time, in order, on a goroutine of its own. It is for code that may block, and that
// must not run under a lock or within a turn: what enters go-capnp, and what a user wrote.
//
// It is not bounded: each function stands for something that is (an open question, a held capability).
//
// States of its goroutine: none; running; parked, from when there is nothing left to run until there is, or End. A new
// one for each function would grow its stack anew each time, which costs more than what most of them do.
type Worker struct {
	// Dispatcher, where set, runs the functions, Throughput of them at a time: for tests that pick what runs next.
	Dispatcher actor.Dispatcher

	mu      sync.Mutex
	todo    fifo[Task]
	running bool
	parked  bool
	woken   bool // from parked to running, and the goroutine has not seen it
	ended   bool
	idle    sync.Cond // running became false
	wake    sync.Cond // parked became false
	once    sync.Once
	all     func() // run: made once, for a method value is allocated
}

// A Task is something to run, for who has an object at hand already: a function would be one more.
type Task interface{ Do() }

type taskFunc func()

func (f taskFunc) Do() { f() }

func (w *Worker) init() { w.once.Do(func() { w.idle.L, w.wake.L, w.all = &w.mu, &w.mu, w.run }) }

// Do has f run behind all that was given before. It does not wait.
func (w *Worker) Do(f func()) { w.DoTask(taskFunc(f)) }

// DoTask is Do.
func (w *Worker) DoTask(t Task) {
	w.init()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.todo.push(t)
	switch {
	case w.running:
	case w.parked:
		w.running, w.parked, w.woken = true, false, true
		w.wake.Signal()
	default:
		w.running = true
		w.schedule()
	}
}

func (w *Worker) schedule() {
	if w.Dispatcher != nil {
		w.Dispatcher.Schedule(w.all)
		return
	}
	go w.all()
}

func (w *Worker) run() {
	for left := throughput(w.Dispatcher); ; left-- {
		w.mu.Lock()
		if w.todo.len() == 0 && !w.park() {
			w.mu.Unlock()
			return
		}
		if left == 0 {
			w.mu.Unlock()
			w.schedule()
			return
		}
		t := w.todo.pop()
		w.mu.Unlock()
		t.Do()
	}
}

// park waits until there is something to run, or says that the goroutine is to end. The caller holds w.mu.
func (w *Worker) park() bool {
	w.running = false
	w.idle.Broadcast()
	w.parked = w.Dispatcher == nil && !w.ended
	for w.parked {
		w.wake.Wait()
	}
	woken := w.woken
	w.woken = false
	return woken // and not running: after End, another goroutine may
}

// End ends the goroutine once it has nothing to run. What is given to the worker from then on is run all the same, by one
// that ends by itself.
func (w *Worker) End() {
	w.init()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended, w.parked = true, false
	w.wake.Signal()
}

// Wait blocks until all that was given has run.
func (w *Worker) Wait() {
	w.init()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.running {
		w.idle.Wait()
	}
}

// Len is the number of functions that wait.
func (w *Worker) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.todo.len()
}
