package vat

import (
	"testing"

	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// earlyProbes answers wait and self early.
func earlyProbes(cfg *Config, _ *transport.Config) {
	for _, method := range []uint16{2, 6} {
		cfg.EarlyReturn = append(cfg.EarlyReturn,
			EarlyReturn{Interface: testapi.Probe_TypeID, Method: method, Caps: [][]uint16{{0}}})
	}
}

// aloneWithSelf has alice call wait on a promise of bob's, and self on its result; lets go of the former; and has
// bob resolve the promise to carol's object. It returns the result of self, once carol has got bob's Finish of wait,
// which still runs.
func aloneWithSelf(t *testing.T, c *cluster) testapi.Probe {
	c.start("alice", nil)
	c.start("bob", earlyProbes)
	c.start("carol", nil)
	p, resolver := c.promiseAt("bob")
	p.Release()
	_, held := newProbe("held")
	c.keep("carol", held)
	held.Release()
	kept, releaseKept := c.ready("alice", "bob").Kept(t.Context(), nil)
	wait, releaseWait := kept.Probe().Wait(t.Context(), nil)
	self, releaseSelf := wait.Probe().Self(t.Context(), nil)
	if _, err := wait.Struct(); err != nil {
		t.Fatal(err)
	}
	res, err := self.Struct()
	if err != nil {
		t.Fatal(err)
	}
	ref := res.Probe().AddRef()
	carol := c.ready("bob", "carol")
	releaseKept()
	releaseWait()
	releaseSelf()
	calls := message{"carol", false, "bob", rpc.Message_Which_call}
	before := c.count(calls)
	resolver.Fulfill(carol.AddRef())
	arrives(t, "wait at carol", c.objects["carol"].entered)
	eventually(t, saying("self at carol, and the Finish of wait"), func() bool {
		kept := 0
		c.session("carol", "bob").inspect(func(s *session) {
			s.answers.sorted(func(_ uint32, a *answer) {
				if len(a.ref.kept) > 0 {
					kept++
				}
			})
		})
		return c.count(calls) == before+2 && kept == 1
	})
	return ref
}

// What is pipelined on a call whose results go to a third party is delivered, though the third party wants no more
// of those results, and the call is finished before they are here.
func TestPipelinedOnAnAnswerThatIsOver(t *testing.T) {
	c := newCluster(t)
	ref := aloneWithSelf(t, c)
	defer ref.Release()
	c.objects["carol"].let <- struct{}{}
	note, release := ref.Note(t.Context(), noting(1, 1))
	defer release()
	if _, err := note.Struct(); err != nil {
		t.Fatal(err)
	}
}

// The same, but the introducer is lost before the results are here.
func TestIntroducerIsLostOfAnAnswerThatIsOver(t *testing.T) {
	c := newCluster(t)
	c.dirty = true
	ref := aloneWithSelf(t, c)
	defer ref.Release()
	c.byName["carol"].EndSession(id("bob"), "on purpose")
	if err := arrives(t, "the end of wait", c.objects["carol"].left); err == nil {
		t.Fatal("a call that nobody waits for was not canceled")
	}
	note, release := ref.Note(t.Context(), noting(1, 1))
	defer release()
	if _, err := note.Struct(); err == nil {
		t.Fatal("a call on what never was has succeeded")
	}
}
