package vat

import (
	"context"
	"slices"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A probe is an object of the tests.
type probe struct {
	name string
	// blowUp is how much longer the results of echo are than its arguments. Not to be changed while calls run.
	blowUp int
	down   chan struct{} // closed with the last reference
	// entered gets one for each call of wait that has begun, let lets one return.
	entered chan struct{}
	let     chan struct{}
	// left gets what each call of wait ended with.
	left chan error

	mu    sync.Mutex
	notes []note
	held  testapi.Probe
}

type note struct{ from, n uint32 }

func newProbe(name string) (*probe, testapi.Probe) {
	p := &probe{
		name:    name,
		down:    make(chan struct{}),
		entered: make(chan struct{}, 1<<16),
		let:     make(chan struct{}, 1<<16),
		left:    make(chan error, 1<<16),
	}
	c := testapi.Probe_ServerToClient(p)
	return p, c
}

// seen is what was noted so far.
func (p *probe) seen() []note {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.notes)
}

// wantOrder checks that each sender's notes are 1..n in order, and none is missing.
func (p *probe) wantOrder(t *testing.T, senders int, n uint32) {
	t.Helper()
	last := map[uint32]uint32{}
	for _, x := range p.seen() {
		if x.n != last[x.from]+1 {
			t.Fatalf("%s got note %d of sender %d after %d", p.name, x.n, x.from, last[x.from])
		}
		last[x.from] = x.n
	}
	if len(last) != senders {
		t.Fatalf("%s got notes of %d senders, want %d", p.name, len(last), senders)
	}
	for from, got := range last {
		if got != n {
			t.Fatalf("%s got %d notes of sender %d, want %d", p.name, got, from, n)
		}
	}
}

// Shutdown implements server.Shutdowner.
func (p *probe) Shutdown() {
	p.mu.Lock()
	held := p.held
	p.held = testapi.Probe{}
	p.mu.Unlock()
	held.Release()
	close(p.down)
}

func (p *probe) Note(_ context.Context, c testapi.Probe_note) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, note{c.Args().From(), c.Args().N()})
	return nil
}

func (p *probe) Echo(_ context.Context, c testapi.Probe_echo) error {
	data, err := c.Args().Data()
	if err != nil {
		return err
	}
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetData(append(slices.Clone(data), make([]byte, p.blowUp)...))
}

func (p *probe) Self(_ context.Context, c testapi.Probe_self) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetProbe(testapi.Probe_ServerToClient(alias{p}))
}

// alias is a capability of its own for a probe: go-capnp has no reference to an object that does not hold it.
type alias struct{ *probe }

// Shutdown implements server.Shutdowner.
func (alias) Shutdown() {}

func (p *probe) Keep(_ context.Context, c testapi.Probe_keep) error {
	p.mu.Lock()
	old := p.held
	p.held = c.Args().Probe().AddRef()
	p.mu.Unlock()
	old.Release()
	return nil
}

func (p *probe) Kept(_ context.Context, c testapi.Probe_kept) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetProbe(p.keeps())
}

// keeps is a reference to what p holds.
func (p *probe) keeps() testapi.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held.AddRef()
}

func (p *probe) Fail(_ context.Context, c testapi.Probe_fail) error {
	reason, err := c.Args().Reason()
	if err != nil {
		return err
	}
	return exc.New(exc.Type(c.Args().Type()), "", reason)
}

func (p *probe) Wait(ctx context.Context, c testapi.Probe_wait) (err error) {
	c.Go()
	p.entered <- struct{}{}
	defer func() { p.left <- err }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.let:
	}
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetProbe(p.keeps())
}

func (p *probe) Write(_ context.Context, c testapi.Probe_write) error {
	n := c.Args().N()
	if n == 0 {
		return exc.New(exc.Overloaded, "", "nothing written")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, note{0, n})
	return nil
}

func (p *probe) Pass(_ context.Context, c testapi.Probe_pass) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetProbe(c.Args().Probe().AddRef())
}

func (p *probe) CallBack(ctx context.Context, c testapi.Probe_callBack) error {
	to := c.Args().Probe().AddRef()
	defer to.Release()
	from, n := c.Args().From(), c.Args().N()
	c.Go()
	return noteOn(ctx, to, from, n)
}

func (p *probe) Many(_ context.Context, c testapi.Probe_many) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	probes, err := c.Args().Probes()
	if err != nil {
		return err
	}
	if err := res.SetProbes(probes); err != nil {
		return err
	}
	nested, err := c.Args().Nested()
	if err != nil {
		return err
	}
	return res.SetNested(nested)
}

// The callers' side.

func noting(from, n uint32) func(testapi.Probe_note_Params) error {
	return func(p testapi.Probe_note_Params) error {
		p.SetFrom(from)
		p.SetN(n)
		return nil
	}
}

// noteOn calls note and waits for it.
func noteOn(ctx context.Context, p testapi.Probe, from, n uint32) error {
	ans, release := p.Note(ctx, noting(from, n))
	defer release()
	_, err := ans.Struct()
	return err
}

// giving sets a parameter to a reference to x, whose own reference stays with the caller.
func giving[P interface{ SetProbe(testapi.Probe) error }](x testapi.Probe) func(P) error {
	return func(p P) error { return p.SetProbe(x.AddRef()) }
}

// keepOn has p hold x.
func keepOn(ctx context.Context, p, x testapi.Probe) error {
	ans, release := p.Keep(ctx, giving[testapi.Probe_keep_Params](x))
	defer release()
	_, err := ans.Struct()
	return err
}

func echoOn(ctx context.Context, p testapi.Probe, data []byte) ([]byte, error) {
	ans, release := p.Echo(ctx, func(a testapi.Probe_echo_Params) error { return a.SetData(data) })
	defer release()
	res, err := ans.Struct()
	if err != nil {
		return nil, err
	}
	got, err := res.Data()
	return slices.Clone(got), err
}

// wantError checks the type of an exception and its text, which must contain text.
func wantError(t *testing.T, err error, typ exc.Type, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v with %q", typ, text)
	}
	if got := exc.TypeOf(err); got != typ || !contains(err.Error(), text) {
		t.Fatalf("got %v: %q, want %v with %q", got, err, typ, text)
	}
}
