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

// A provision finds the actor of one that is over, and nothing of what that knew; one that has failed leaves none.
func TestProvisionsUseActorsAgain(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	by := charge{id("bob"), true}
	begin := func(n byte) *provisionRef {
		return must(v.provision(provisionKey{id("bob"), nonce{n}}, by, func(x *provision) []outcome {
			if x.known || x.accepted || len(x.lifted) > 0 {
				t.Errorf("provision %d begins as %+v", n, *x)
			}
			x.lift("an embargo")
			return x.name(v.ID(), nil)
		}))
	}
	end := func(p *provisionRef) { p.visit(func(x *provision) []outcome { return x.end(errWithdrawn) }) }
	first, second := begin(1), begin(2)
	if first.at == second.at {
		t.Fatal("two provisions have one actor")
	}
	end(first)
	third := begin(3)
	if third.at != first.at {
		t.Error("the actor of a provision that is over was not used again")
	}
	first.visit(func(*provision) []outcome { t.Error("a provision that is over was told something"); return nil })
	second.visit(func(*provision) []outcome { panic("on purpose") })
	end(third)
	for _, p := range []*provisionRef{begin(4), begin(5)} {
		if p.at == second.at {
			t.Error("the actor of a provision that has failed was used again")
		}
		end(p)
	}
	if n := v.Tables().Provisions; n != 0 {
		t.Errorf("%d provisions are left", n)
	}
}
