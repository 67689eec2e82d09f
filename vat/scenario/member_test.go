package scenario

import (
	"context"
	"fmt"
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/scenario/play"
)

// A member is a vat of a stage, with what local code holds there.
type member struct {
	name string
	v    *vat.Vat

	mu       sync.Mutex
	caps     map[string]capnp.Client // owned
	promises map[string]capnp.Resolver[play.Thing]
	gates    map[string]chan struct{}
	calls    map[string]*pending
	ran      map[string][]string // by object, the calls in their order
	shut     map[string]int      // by object, how often it was shut down
	made     []string            // objects, in their order
}

// pending is a call that local code has made and not released.
type pending struct {
	ans     *capnp.Answer
	release capnp.ReleaseFunc
	cancel  context.CancelFunc
}

func newMember(name string) *member {
	return &member{
		name:     name,
		caps:     map[string]capnp.Client{},
		promises: map[string]capnp.Resolver[play.Thing]{},
		gates:    map[string]chan struct{}{},
		calls:    map[string]*pending{},
		ran:      map[string][]string{},
		shut:     map[string]int{},
	}
}

func (m *member) note(object, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ran[object] = append(m.ran[object], what)
}

func (m *member) gone(object string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut[object]++
}

// set has the vat know c, which it takes over, by name.
func (m *member) set(name string, c capnp.Client) {
	m.mu.Lock()
	old := m.caps[name]
	m.caps[name] = c
	m.mu.Unlock()
	old.Release()
}

// take removes what is known by name.
func (m *member) take(name string) (capnp.Client, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.caps[name]
	delete(m.caps, name)
	return c, ok
}

func (m *member) get(name string) (capnp.Client, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.caps[name]
	return c, ok
}

// newObject makes an object. The caller owns the client.
func (m *member) newObject(name string) capnp.Client {
	m.mu.Lock()
	m.made = append(m.made, name)
	m.mu.Unlock()
	return capnp.Client(play.Thing_ServerToClient(thing{m, name}))
}

// known is a new reference to what the vat knows by name, or to a new promise, which the vat will resolve.
func (m *member) known(name string) (capnp.Client, error) {
	if c, ok := m.get(name); ok {
		return c.AddRef(), nil
	}
	return capnp.Client(m.newPromise(name)), nil
}

func (m *member) newPromise(name string) play.Thing {
	c, r := vat.NewPromise[play.Thing](m.v)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.promises[name] = r
	return c
}

// resolver is that of the promise name, to be used once.
func (m *member) resolver(name string) (capnp.Resolver[play.Thing], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.promises[name]
	if !ok {
		return nil, fmt.Errorf("%s has no unresolved promise %s", m.name, name)
	}
	delete(m.promises, name)
	return r, nil
}

func (m *member) gate(name string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.gates[name]
	if !ok {
		g = make(chan struct{})
		m.gates[name] = g
	}
	return g
}

// letGo drops all that local code holds, calls first, and fails what it has promised. pause runs after each.
func (m *member) letGo(pause func()) {
	m.mu.Lock()
	calls, caps, promises := m.calls, m.caps, m.promises
	m.calls = map[string]*pending{}
	m.caps = map[string]capnp.Client{}
	m.promises = map[string]capnp.Resolver[play.Thing]{}
	m.mu.Unlock()
	for _, name := range sortedKeys(calls) {
		calls[name].drop()
		pause()
	}
	for _, name := range sortedKeys(promises) {
		promises[name].Reject(fmt.Errorf("%s has ended", m.name))
		pause()
	}
	for _, name := range sortedKeys(caps) {
		caps[name].Release()
		pause()
	}
}

func (p *pending) drop() {
	p.release()
	p.cancel()
}

// call makes a call on what is known by target and notes it by name.
func (m *member) call(name, target string, method capnp.Method, place func(play.Cargo) error) error {
	c, ok := m.get(target)
	if !ok {
		return fmt.Errorf("%s knows no %s", m.name, target)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ans, release := c.SendCall(ctx, capnp.Send{
		Method:    method,
		ArgsSize:  capnp.ObjectSize{PointerCount: 4},
		PlaceArgs: func(s capnp.Struct) error { return place(play.Cargo(s)) },
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[name] = &pending{ans, release, cancel}
	return nil
}
