package vat

import (
	"testing"

	"github.com/vatwork/vatwork/transport"
)

// What a vat waits to pick up from itself does not outlive it.
func TestClosedVatWaitsForNoProvision(t *testing.T) {
	c := newCluster(t, "alice")
	c.dirty = true
	v := c.byName["alice"]
	client, ref := v.newReference(nil, true)
	intro := transport.Introduced{Host: v.ID(), Introducer: id("bob"), Recipient: v.ID()}
	back := &contact{Introduced: intro, vat: v, vine: &pin{road: brokenRoad{errCanceled}}}
	back.acceptHere(ref, nil)
	if n := v.Tables().Provisions; n != 1 {
		t.Fatalf("%d provisions are awaited", n)
	}
	v.Close()
	if n := v.Tables().Provisions; n != 0 {
		t.Errorf("%d provisions are left", n)
	}
	client.Release()
}
