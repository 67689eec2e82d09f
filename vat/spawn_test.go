package vat_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// moody greets, and panics when told so. made counts its instances.
type moody struct {
	instance int32
	gate     chan struct{}
	shut     *atomic.Int32
}

func (m *moody) Greet(ctx context.Context, call greeting.Greeter_greet) error {
	name, err := call.Args().Name()
	if err != nil {
		return err
	}
	switch name {
	case "boom":
		panic("moody went boom")
	case "wait":
		select {
		case <-m.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return res.SetGreeting(name + " from " + string('0'+rune(m.instance)))
}

func (m *moody) Shutdown() { m.shut.Add(1) }

func soloVat(t *testing.T) *vat.Vat {
	t.Helper()
	network, err := transport.NewMemory().Vat("solo", transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vat.New(vat.Config{Network: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func greet(c greeting.Greeter, name string) (func() (string, error), capnp.ReleaseFunc) {
	ans, release := c.Greet(context.Background(), func(p greeting.Greeter_greet_Params) error { return p.SetName(name) })
	return func() (string, error) {
		res, err := ans.Struct()
		if err != nil {
			return "", err
		}
		return res.Greeting()
	}, release
}

func TestObjectRestartsAndKeepsWaitingCalls(t *testing.T) {
	v := soloVat(t)
	var made, shut atomic.Int32
	gate := make(chan struct{})
	c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server {
		return &moody{instance: made.Add(1), gate: gate, shut: &shut}
	}, vat.Named("moody"))
	if err != nil {
		t.Fatal(err)
	}
	var results []func() (string, error)
	for _, name := range []string{"wait", "boom", "after", "later"} {
		get, release := greet(c, name)
		defer release()
		results = append(results, get)
	}
	close(gate)
	want := []string{"wait from 1", "", "after from 2", "later from 2"}
	for i, get := range results {
		got, err := get()
		if i == 1 {
			if err == nil || !strings.Contains(err.Error(), "moody went boom") {
				t.Errorf("the call that panicked got %v, want an exception with the panic's text", err)
			}
			continue
		}
		if err != nil || got != want[i] {
			t.Errorf("call %d: %q, %v; want %q", i, got, err, want[i])
		}
	}
	c.Release()
	<-closed(t, v, func() bool { return shut.Load() == 2 })
}

// closed waits for cond by way of the vat's end, after which nothing of its objects runs.
func closed(t *testing.T, v *vat.Vat, cond func() bool) chan struct{} {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !cond() {
		}
	}()
	return done
}

func TestObjectStopsWhenItsBudgetIsSpent(t *testing.T) {
	v := soloVat(t)
	var shut atomic.Int32
	c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server {
		return &moody{shut: &shut}
	}, vat.Supervised(actors.Policy{Restarts: 2, Backoff: 1}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	told := v.Watch(context.Background(), capnp.Client(c))
	for range 3 {
		get, release := greet(c, "boom")
		if _, err := get(); err == nil {
			t.Error("a method that panics returned")
		}
		release()
	}
	why := <-told
	if why == nil || !strings.Contains(why.Error(), "2 restarts") {
		t.Errorf("the watcher was told %v, want the budget that is spent", why)
	}
	if _, again := <-told; again {
		t.Error("the watcher was told twice")
	}
	get, release := greet(c, "x")
	defer release()
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "has stopped") {
		t.Errorf("a call on a stopped object got %v", err)
	}
}

func TestObjectRefusesWhatDoesNotFit(t *testing.T) {
	v := soloVat(t)
	var shut atomic.Int32
	gate := make(chan struct{})
	c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server {
		return &moody{gate: gate, shut: &shut}
	}, vat.Admitting(actors.Admission{Calls: 2}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	first, release := greet(c, "wait")
	defer release()
	second, release := greet(c, "second")
	defer release()
	third, release := greet(c, "third")
	defer release()
	if _, err := third(); err == nil || !strings.Contains(err.Error(), "Admission allows 2") {
		t.Errorf("the third call got %v, want overloaded", err)
	}
	close(gate)
	for _, get := range []func() (string, error){first, second} {
		if _, err := get(); err != nil {
			t.Error(err)
		}
	}
}

func TestEscalatedFailureEndsTheVat(t *testing.T) {
	v := soloVat(t)
	var shut atomic.Int32
	c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server {
		return &moody{shut: &shut}
	}, vat.Supervised(actors.Policy{On: actors.Escalate}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	get, release := greet(c, "boom")
	defer release()
	if _, err := get(); err == nil {
		t.Error("a method that panics returned")
	}
	<-v.Done()
	if v.Err() == nil || !strings.Contains(v.Err().Error(), "boom") {
		t.Errorf("Err is %v, want the panic", v.Err())
	}
}

func TestCanceledWhileItRuns(t *testing.T) {
	v := soloVat(t)
	var shut atomic.Int32
	c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server {
		return &moody{gate: make(chan struct{}), shut: &shut}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	ctx, cancel := context.WithCancel(context.Background())
	ans, release := c.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName("wait") })
	defer release()
	cancel()
	if _, err := ans.Struct(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled call got %v", err)
	}
}

func TestServeMakesTheBootstrap(t *testing.T) {
	memory := transport.NewMemory()
	hostNet, err := memory.Vat("host", transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var shut atomic.Int32
	host, err := vat.New(vat.Config{Network: hostNet, Serve: func(v *vat.Vat) (capnp.Client, error) {
		c, err := vat.Spawn[greeting.Greeter](v, greeting.Greeter_Methods, func() greeting.Greeter_Server {
			return &moody{instance: 1, shut: &shut}
		}, vat.Named("bootstrap"))
		return capnp.Client(c), err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	guestNet, err := memory.Vat("guest", transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	guest, err := vat.New(vat.Config{Network: guestNet, Directory: memory})
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	c := greeting.Greeter(guest.Bootstrap(context.Background(), host.ID()))
	defer c.Release()
	told := guest.Watch(context.Background(), capnp.Client(c))
	get, release := greet(c, "boom")
	defer release()
	if _, err := get(); err == nil || !strings.Contains(err.Error(), "moody went boom") {
		t.Errorf("remote call that panics got %v", err)
	}
	get, release = greet(c, "again")
	defer release()
	if got, err := get(); err != nil || got != "again from 1" {
		t.Errorf("after the restart: %q, %v", got, err)
	}
	host.Close()
	if why := <-told; why == nil {
		t.Error("the watcher was not told that the node is gone")
	}
}
