package vat

import (
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A caller has fetched the pipelined way of a reference, and is preempted until the results are here, and given back
// by all but him: his call still arrives.
func TestPipelinedCallOfAPreemptedCaller(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	c.link("bob", "alice").Hold()
	self, release := bob.Self(t.Context(), nil)
	client := capnp.Client(self.Probe())
	snap := client.Snapshot()
	way := snap.Brand().Value.(capnp.PipelineClient)
	snap.Release()
	a, ok := answerOf(way)
	if !ok {
		t.Fatal("the answer to a call of ours is none of ours")
	}
	answerRoad{a: a}.drop()
	c.link("bob", "alice").Free()
	res, err := self.Struct()
	if err != nil {
		t.Fatal(err)
	}
	ref := res.Probe().AddRef()
	release()
	eventually(t, saying("the end of the answer"), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.cleaned
	})
	c.byName["alice"].worker.Wait()
	ans, releaseNote := a.PipelineSend(t.Context(), way.Transform(), capnp.Send{
		Method:   capnp.Method{InterfaceID: testapi.Probe_TypeID, MethodID: 0},
		ArgsSize: capnp.ObjectSize{DataSize: 8},
	})
	if _, err := ans.Struct(); err != nil {
		t.Fatal(err)
	}
	releaseNote()
	ref.Release()
}
