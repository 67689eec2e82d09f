package peers

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/peerapi"
)

// promised asks p for a promise and returns it unresolved.
func promised(t *testing.T, p peerapi.Peer) peerapi.Peer {
	t.Helper()
	ans, release := p.Promise(t.Context(), nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	c := res.Peer().AddRef()
	t.Cleanup(c.Release)
	return c
}

// whileItResolves calls a promise of p's before it resolves to to, after, and also meanwhile. It opens to as soon
// as it has resolved.
func whileItResolves(t *testing.T, p, to peerapi.Peer, meanwhile bool, open func()) {
	t.Helper()
	c := promised(t, p)
	waits := []func() error{sendNotes(t.Context(), c, 1, 50)}
	done := make(chan error, 1)
	go func() {
		err := settle(t.Context(), p, to)
		open()
		done <- err
	}()
	if !meanwhile {
		done <- <-done
	}
	waits = append(waits, sendNotes(t.Context(), c, 51, 100))
	if err := c.Resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	waits = append(waits, sendNotes(t.Context(), c, 101, 150), func() error { return <-done })
	for _, w := range waits {
		if err := w(); err != nil {
			t.Fatal(err)
		}
	}
}

// A promise that resolves to an object of the peer's.
func casePromise(t *testing.T, p peerapi.Peer) {
	to := newRecorder(t, p)
	whileItResolves(t, p, to, false, func() {})
	wantNotes(t, to, 150)
}

func casePromiseMeanwhile(t *testing.T, p peerapi.Peer) {
	to := newRecorder(t, p)
	whileItResolves(t, p, to, true, func() {})
	wantNotes(t, to, 150)
}

func caseBroken(t *testing.T, p peerapi.Peer) {
	c := promised(t, p)
	ans, release := c.Note(t.Context(), noting(1))
	defer release()
	if err := settle(t.Context(), p, peerapi.Peer{}); err != nil {
		t.Fatal(err)
	}
	_, err := ans.Struct()
	wantError(t, err, exc.Failed, "denied")
	if err := c.Resolve(t.Context()); err != nil && !strings.Contains(err.Error(), "denied") {
		t.Fatal(err)
	}
	wantError(t, note(t.Context(), c, 2), exc.Failed, "denied")
}

// A promise that resolves to an object of the caller's: calls on their way through the peer come first.
func caseEmbargo(t *testing.T, p peerapi.Peer)          { embargo(t, p, false) }
func caseEmbargoMeanwhile(t *testing.T, p peerapi.Peer) { embargo(t, p, true) }

func embargo(t *testing.T, p peerapi.Peer, meanwhile bool) {
	o, to, open := gated(t)
	whileItResolves(t, p, to, meanwhile, open)
	if got := o.seen(); !slices.Equal(got, counted(150)) {
		t.Fatalf("notes %v, want 1..150", got)
	}
}

// The same, where it comes in the results that calls were pipelined on.
func caseEmbargoResults(t *testing.T, p peerapi.Peer) {
	o, to, open := gated(t)
	ans, release := p.Pass(t.Context(), giving[peerapi.Peer_pass_Params](to))
	defer release()
	c := ans.Peer()
	before := sendNotes(t.Context(), c, 1, 50)
	if _, err := ans.Struct(); err != nil {
		t.Fatal(err)
	}
	open()
	if err := errors.Join(before(), sendNotes(t.Context(), c, 51, 100)()); err != nil {
		t.Fatal(err)
	}
	if got := o.seen(); !slices.Equal(got, counted(100)) {
		t.Fatalf("notes %v, want 1..100", got)
	}
}

func caseTwoPromises(t *testing.T, p peerapi.Peer) {
	a, toA, open := gated(t)
	one, two := promised(t, p), promised(t, p)
	waits := []func() error{sendNotes(t.Context(), one, 1, 10), sendNotes(t.Context(), two, 11, 20)}
	if err := settle(t.Context(), p, toA); err != nil {
		t.Fatal(err)
	}
	open()
	for _, w := range waits {
		if err := w(); err != nil {
			t.Fatal(err)
		}
	}
	var first, second []uint32
	for _, n := range a.seen() {
		if n <= 10 {
			first = append(first, n)
		} else {
			second = append(second, n)
		}
	}
	if want := counted(20); !slices.Equal(first, want[:10]) || !slices.Equal(second, want[10:]) {
		t.Fatalf("notes %v and %v", first, second)
	}
}
