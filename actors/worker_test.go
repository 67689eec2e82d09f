package actors

import (
	"slices"
	"sync"
	"testing"
)

func TestWorkerRunsInOrder(t *testing.T) {
	var w Worker
	defer w.End()
	var got []int
	posted := make(chan struct{})
	w.Do(func() { <-posted })
	for i := range 100 {
		w.Do(func() {
			if got = append(got, i); i == 50 {
				w.Do(func() { got = append(got, 100) })
			}
		})
	}
	close(posted)
	w.Wait()
	want := make([]int, 101)
	for i := range want {
		want[i] = i
	}
	if !slices.Equal(got, want) {
		t.Errorf("ran %v", got)
	}
}

// Do does not wait, also not for a function that blocks, and within one.
func TestWorkerDoesNotWait(t *testing.T) {
	var w Worker
	defer w.End()
	w.Wait() // for nothing
	entered, let := make(chan struct{}), make(chan struct{})
	w.Do(func() { close(entered); <-let })
	<-entered
	ran := false
	w.Do(func() { ran = true })
	if n := w.Len(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	close(let)
	w.Wait()
	if !ran || w.Len() != 0 {
		t.Errorf("ran: %v, %d wait", ran, w.Len())
	}
}

func TestWorkerManyAtOnce(t *testing.T) {
	const posters, each = 8, 300
	var w Worker
	defer w.End()
	n := 0 // of the worker's goroutines, one after the other
	var wg sync.WaitGroup
	for range posters {
		wg.Go(func() {
			for range each {
				w.Do(func() { n++ })
			}
			w.Wait()
		})
	}
	wg.Wait()
	w.Wait()
	if n != posters*each {
		t.Errorf("%d ran, want %d", n, posters*each)
	}
}

// A worker that has ended still runs what it is given, in order and one at a time.
func TestWorkerEnded(t *testing.T) {
	var w Worker
	var got []int
	for i := range 200 {
		w.Do(func() { got = append(got, i) })
		if i%3 == 0 {
			w.Wait()
		}
		if i == 100 {
			w.End()
		}
	}
	w.Wait()
	if len(got) != 200 || !slices.IsSorted(got) {
		t.Errorf("ran %v", got)
	}
}
