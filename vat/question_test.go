package vat

import (
	"slices"
	"testing"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A call is pipelined on one that returns a promise of ours, and is in the mailbox still as that returns. The peer knows
// the promise, and that it has resolved to an import: there all ends that is pinned to it. Now the import resolves to an
// object of ours, and the callers of the promise go there. So does what the caller calls next, and what is in the mailbox.
func TestPipelinedInTheMailboxAtTheReturn(t *testing.T) {
	const theirPromise, theirObject = 3, 4
	s, w := plainSession(t, false)
	object, client := newProbe("object")
	export := func(c capnp.Client) rpc.CapDescriptor {
		d := must(rpc.NewRootCapDescriptor(newSegment()))
		s.describe(d, s.vat.pinClient(c))
		settleAll(t, s)
		return d
	}
	hosted := export(capnp.Client(client)).SenderHosted()
	p, promise := s.vat.newPromise()
	promised := export(p).SenderPromise()
	promise.resolve(must(s.importCap(theirPromise, true)))
	asked := testapi.Probe(must(s.importCap(theirObject, false)))
	kept, release := asked.Kept(t.Context(), nil)
	settleAll(t, s)
	w.sent = nil

	first, releaseFirst := kept.Probe().Note(t.Context(), noting(1, 1))
	for _, m := range []rpc.Message{
		ourOwn(0, promised),
		resolveFrame(theirPromise, func(d rpc.CapDescriptor) { d.SetReceiverHosted(hosted) }),
	} {
		check(s.onFrame(must(capnp.Unmarshal(must(m.Message().Marshal())))))
	}
	settleAll(t, s)
	if slices.Contains(w.sent, "call") {
		t.Fatalf("sent %q: what is called next does not go there", w.sent)
	}
	second, releaseSecond := kept.Probe().Note(t.Context(), noting(1, 2))
	settleAll(t, s)
	for _, ans := range []testapi.Probe_note_Results_Future{first, second} {
		if _, err := ans.Struct(); err != nil {
			t.Error(err)
		}
	}
	object.wantOrder(t, 1, 2)
	for _, let := range []func(){releaseFirst, releaseSecond, release, asked.Release, p.Release, client.Release} {
		let()
	}
	settleAll(t, s)
}
