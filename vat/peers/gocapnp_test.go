package peers

import (
	"slices"
	"testing"
)

// go-capnp's rpc calls us.
func TestGoCapnpCalls(t *testing.T) {
	for _, c := range slices.Concat(cases, notOnGo) {
		t.Run(c.name, func(t *testing.T) {
			v, _ := newVat(t, "vat", nil)
			l := listen(t)
			serve(t, v, l)
			conn, _ := goDial(t, l.Addr())
			c.run(t, goBootstrap(t, conn))
		})
	}
}

// We call go-capnp's rpc.
func TestCallGoCapnp(t *testing.T) {
	for _, c := range slices.Concat(cases, notByGo) {
		t.Run(c.name, func(t *testing.T) {
			l := listen(t)
			goServe(t, l)
			v, _ := newVat(t, "vat", nil)
			c.run(t, dial(t, v, l.Addr()))
		})
	}
}

// Two vats that meet as level 1 peers.
func TestVatCallsVat(t *testing.T) {
	for _, c := range slices.Concat(cases, notByGo, notOnGo) {
		t.Run(c.name, func(t *testing.T) {
			bob, _ := newVat(t, "bob", nil)
			l := listen(t)
			serve(t, bob, l)
			alice, _ := newVat(t, "alice", nil)
			c.run(t, dial(t, alice, l.Addr()))
		})
	}
}

// One session, both directions at once.
func TestGoCapnpBothWays(t *testing.T) {
	l := listen(t)
	conns := goServe(t, l)
	v, _ := newVat(t, "vat", nil)
	ours := dial(t, v, l.Addr())
	theirs := goBootstrap(t, <-conns)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Run("there", func(t *testing.T) {
				t.Parallel()
				c.run(t, ours)
			})
			t.Run("back", func(t *testing.T) {
				t.Parallel()
				c.run(t, theirs)
			})
		})
	}
}
