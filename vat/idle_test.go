package vat_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/vat"
)

// simple greets, and has a little state.
type simple struct{ greetings int }

func (s *simple) Greet(_ context.Context, call greeting.Greeter_greet) error {
	s.greetings++
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return res.SetGreeting("hello")
}

// heap is what is in use once all garbage is gone.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An anonymous object that nobody calls costs under 1.5 kB, the user's instance and the first reference included,
// and no goroutine.
func TestIdleObjectsAreCheap(t *testing.T) {
	const n, most = 10_000, 1500
	v := soloVat(t)
	objects := make([]greeting.Greeter, n)
	goroutines, before := runtime.NumGoroutine(), heap()
	for i := range objects {
		var err error
		objects[i], err = vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server { return &simple{} })
		if err != nil {
			t.Fatal(err)
		}
	}
	after := heap()
	each := (float64(after) - float64(before)) / n
	t.Logf("%.0f bytes an object", each)
	if each > most {
		t.Errorf("an idle object costs %.0f bytes, want at most %d", each, most)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 0 {
		t.Errorf("%d objects have %d goroutines", n, more)
	}
	for _, o := range objects {
		o.Release()
	}
}
