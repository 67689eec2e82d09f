package vat

import (
	"context"
	"errors"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// Cases of level 1 that are not about which messages are exchanged.

// nest makes a chain of n structs below the one it is for, with a text at the end.
func nest(x testapi.Probe_Nested, n int, text string) (err error) {
	for range n {
		if x, err = x.NewNested(); err != nil {
			return err
		}
	}
	return x.SetText(text)
}

// nested is the text at the end of such a chain.
func nested(x testapi.Probe_Nested, n int) (_ string, err error) {
	for range n {
		if x, err = x.Nested(); err != nil {
			return "", err
		}
	}
	return x.Text()
}

func TestDeepNesting(t *testing.T) {
	c := newCluster(t)
	deep := func(_ *Config, tcfg *transport.Config) { tcfg.Limits.MaxDepth = 200 }
	c.start("alice", deep)
	c.start("bob", deep)
	bob := c.bootstrap("alice", "bob")
	many := func(depth int) (string, error) {
		ans, release := bob.Many(t.Context(), func(p testapi.Probe_many_Params) error {
			top, err := p.NewNested()
			if err != nil {
				return err
			}
			return nest(top, depth, "down here")
		})
		defer release()
		res, err := ans.Struct()
		if err != nil {
			return "", err
		}
		top, err := res.Nested()
		if err != nil {
			return "", err
		}
		return nested(top, depth)
	}
	for _, depth := range []int{0, 1, 40, 150} {
		if got, err := many(depth); err != nil || got != "down here" {
			t.Errorf("%d deep: %q, %v", depth, got, err)
		}
	}
	if got, err := many(400); err == nil || !contains(err.Error(), "depth limit") {
		t.Errorf("400 deep, where 200 may be: %q, %v; want an error that says so", got, err)
	}
	if _, err := echoOn(t.Context(), bob, []byte("x")); err != nil {
		t.Errorf("the session after a message too deep: %v", err)
	}
}

// hurt is an error with a trace.
type hurt struct{ error }

func (hurt) Trace() string { return "hurt in the knee" }

// A faulty probe fails with a trace.
type faulty struct{ *probe }

func (faulty) Note(context.Context, testapi.Probe_note) error {
	return hurt{exc.New(exc.Overloaded, "", "ouch")}
}
func (faulty) Shutdown() {}

// The trace of an exception comes along, also by way of a vat that only passes calls on, and is no part of the text.
func TestTraceOfException(t *testing.T) {
	c := newCluster(t, "alice", "bob", "carol")
	carols := testapi.Probe_ServerToClient(faulty{c.objects["carol"]})
	c.keep("carol", carols)
	carols.Release()
	kept, release := c.bootstrap("bob", "carol").Kept(t.Context(), nil)
	defer release()
	atBob := kept.Probe()
	relay := testapi.Probe_ServerToClient(relaying{c.objects["bob"], atBob})
	c.keep("bob", relay)
	relay.Release()
	again, release := c.bootstrap("alice", "bob").Kept(t.Context(), nil)
	defer release()

	for name, p := range map[string]testapi.Probe{"from the host": atBob, "passed on": again.Probe()} {
		err := noteOn(t.Context(), p, 1, 1)
		if got := TraceOf(err); got != "hurt in the knee" {
			t.Errorf("%s: the trace is %q", name, got)
		}
		if err == nil || strings.Contains(err.Error(), "knee") || !strings.Contains(err.Error(), "ouch") {
			t.Errorf("%s: the text is %v", name, err)
		}
	}
	if got := TraceOf(errors.New("without")); got != "" {
		t.Errorf("an error without a trace has %q", got)
	}
}

// A relaying probe returns what another one says to note.
type relaying struct {
	*probe
	to testapi.Probe
}

func (p relaying) Note(ctx context.Context, _ testapi.Probe_note) error {
	return noteOn(ctx, p.to, 1, 1)
}
func (relaying) Shutdown() {}

// A window lets so many calls be under way, and tells of each that has to wait.
type window struct {
	under   chan struct{}
	waiting chan struct{}
}

func (w *window) StartMessage(ctx context.Context, _ uint64) (gotResponse func(), err error) {
	select {
	case w.under <- struct{}{}:
	default:
		w.waiting <- struct{}{}
		select {
		case w.under <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() { <-w.under }, nil
}

func (*window) Release() {}

// A streaming call waits where the window is full, and goes on when what is under way has returned.
func TestStreamingWindow(t *testing.T) {
	const size, writes = 3, 100
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	w := &window{make(chan struct{}, size), make(chan struct{}, writes)}
	bob.SetFlowLimiter(w)
	back := c.link("bob", "alice")
	back.Hold()
	written := make(chan error, writes)
	go func() {
		defer close(written)
		for n := range uint32(writes) {
			written <- bob.Write(context.Background(), func(p testapi.Probe_write_Params) error { p.SetN(n + 1); return nil })
		}
	}()
	arrives(t, "a write that waits", w.waiting)
	// go-capnp asks for a place behind the call that it is for, and so goes beyond by one.
	eventually(t, saying("the writes up to it"), func() bool { return len(c.objects["bob"].seen()) == size+1 })
	if n := len(written); n != size {
		t.Errorf("%d writes did not wait, want %d", n, size)
	}
	back.Free()
	for err := range written {
		if err != nil {
			t.Error(err)
		}
	}
	if err := bob.WaitStreaming(); err != nil {
		t.Error(err)
	}
	c.objects["bob"].wantOrder(t, 1, writes)
	eventually(t, saying("an empty window"), func() bool { return len(w.under) == 0 })
}

// A reference that is released while streaming calls are under way loses none of them.
func TestStreamingReleased(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	there := c.link("alice", "bob")
	there.Hold()
	for n := range uint32(1000) {
		if err := bob.Write(t.Context(), func(p testapi.Probe_write_Params) error { p.SetN(n + 1); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	bob.Release()
	there.Free()
	eventually(t, saying("1000 writes"), func() bool { return len(c.objects["bob"].seen()) == 1000 })
	c.objects["bob"].wantOrder(t, 1, 1000)
}

// A call whose parameters turn out not to fit the table of exports leaves nothing behind.
func TestSendThatFailsHalfway(t *testing.T) {
	c := newCluster(t)
	c.start("alice", func(cfg *Config, _ *transport.Config) { cfg.Limits.Exports = 3 })
	c.start("bob", nil)
	bob := c.ready("alice", "bob")
	var probes []*probe
	ans, release := bob.Many(t.Context(), func(p testapi.Probe_many_Params) error {
		list, err := p.NewProbes(5)
		if err != nil {
			return err
		}
		for i := range list.Len() {
			o, client := newProbe("mine")
			probes = append(probes, o)
			if err := list.Set(i, client); err != nil {
				return err
			}
		}
		return nil
	})
	_, err := ans.Struct()
	release()
	wantError(t, err, exc.Overloaded, "Limits.Exports")
	for _, o := range probes {
		arrives(t, "the shutdown of a parameter", o.down)
	}
	if n := c.byName["alice"].Tables(); n.Exports != 0 || n.Questions != 0 {
		t.Errorf("left behind: %+v", n)
	}
}
