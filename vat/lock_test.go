package vat

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

type panicking struct{ testapi.Probe_Server }

func (panicking) Note(context.Context, testapi.Probe_note) error { panic("on purpose") }

// logWatch closes said when a line with the text is logged.
type logWatch struct {
	slog.Handler
	text string
	once sync.Once
	said chan struct{}
}

func (w *logWatch) Enabled(context.Context, slog.Level) bool { return true }

func (w *logWatch) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, w.text) {
		w.once.Do(func() { close(w.said) })
	}
	return nil
}

// An object escalates its failure, in a turn of the vat's own actor, while a session is made, for which an actor
// is spawned under the vat's lock: neither may wait for the other.
func TestObjectEscalatesWhileASessionIsMade(t *testing.T) {
	c := newCluster(t)
	c.dirty = true
	w := &logWatch{Handler: slog.DiscardHandler, text: "and the vat with it", said: make(chan struct{})}
	v := c.start("alice", func(cfg *Config, _ *transport.Config) { cfg.Logger = slog.New(w) })
	object, err := Spawn[testapi.Probe](v, testapi.Probe_Methods, func() testapi.Probe_Server { return panicking{} },
		Supervised(actors.Policy{On: actors.Escalate}))
	if err != nil {
		t.Fatal(err)
	}
	defer object.Release()
	v.mu.Lock()
	ans, release := object.Note(t.Context(), noting(1, 1))
	defer release()
	arrives(t, "the failure", w.said)
	made := make(chan struct{})
	go func() {
		defer close(made)
		defer v.mu.Unlock()
		if _, err := v.spawn("session", actor.PropsFromFunc(func(actor.Context) {}, actors.Inline())); err != nil {
			t.Error(err)
		}
	}()
	arrives(t, "an actor", made)
	if _, err := ans.Struct(); err == nil {
		t.Error("a call that panicked has succeeded")
	}
	<-v.Done()
}
