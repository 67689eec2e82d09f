package actors

import "sync"

// A Worker runs functions one at a time, in order, on a goroutine of its own that lives only while there is
// something to run. It is for code that may block, and that must not run under a lock or within a turn:
// what enters go-capnp, and what a user wrote.
//
// It is not bounded: each function stands for something that is (an open question, a held capability).
type Worker struct {
	mu      sync.Mutex
	todo    []func()
	running bool
	idle    sync.Cond
	once    sync.Once
}

func (w *Worker) init() { w.once.Do(func() { w.idle.L = &w.mu }) }

// Do has f run behind all that was given before. It does not wait.
func (w *Worker) Do(f func()) {
	w.init()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.todo = append(w.todo, f)
	if !w.running {
		w.running = true
		go w.run()
	}
}

func (w *Worker) run() {
	for {
		w.mu.Lock()
		if len(w.todo) == 0 {
			w.running = false
			w.idle.Broadcast()
			w.mu.Unlock()
			return
		}
		f := w.todo[0]
		w.todo[0] = nil
		if w.todo = w.todo[1:]; len(w.todo) == 0 {
			w.todo = nil
		}
		w.mu.Unlock()
		f()
	}
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
	return len(w.todo)
}
