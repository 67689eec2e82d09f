package vat

import (
	"context"
	"errors"
	"testing"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A promise is rejected while a call waits on it, of whose results a part was passed to another vat: the one
// promise breaks as the other does.
func TestPromiseBreaksWithAPartOfWhatWaitsOnIt(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	p, resolver := NewPromise[testapi.Probe](c.byName["alice"])
	defer p.Release()
	self, release := p.Self(t.Context(), nil)
	defer release()
	part := self.Probe()
	if err := keepOn(t.Context(), bob, part); err != nil {
		t.Fatal(err)
	}
	rejected := make(chan struct{})
	go func() { resolver.Reject(errors.New("on purpose")); close(rejected) }()
	arrives(t, "the end of the promise", rejected)
	if err := part.Resolve(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := echoOn(t.Context(), part, nil); err == nil {
		t.Fatal("a call on a part of what never was has succeeded")
	}
	if err := keepOn(t.Context(), bob, testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
}
