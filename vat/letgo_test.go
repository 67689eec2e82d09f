package vat

import "testing"

// What was called on a reference goes out ahead of the news that it was let go, also where both wait for the
// connection.
func TestReferenceLetGoBeforeTheSessionIsOpen(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	for i := range uint32(20) {
		p := c.bootstrap("alice", "bob")
		last := p.AddRef()
		p.Release()
		ans, release := last.Note(t.Context(), noting(i, 1))
		last.Release()
		if _, err := ans.Struct(); err != nil {
			t.Fatal(err)
		}
		release()
		c.byName["alice"].EndSession(id("bob"), "the next one dials anew")
		c.settle()
	}
}
