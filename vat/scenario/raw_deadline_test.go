package scenario

import (
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// An Accept that the host does not answer: what was not sent on it takes the vine, what was may have been delivered and
// fails.
func TestAcceptOverdue(t *testing.T) {
	whole := vat.DefaultLimits().Dial + vat.DefaultLimits().Handoff
	t.Run("nothing sent", func(t *testing.T) {
		recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
			bob.give(0, senderHosted(0))
			bob.want("finish 0")
			alice.do("q = b.foo P")
			alice.do("p = q.cap")
			bob.want("call 0 foo")
			bob.ret(0, "", senderPromise(1))
			alice.do("c1 = p.creek one")
			bob.want(`call 1 creek "one" on=import 1`)
			bob.resolve(1, thirdParty("carol", nonceA, 2))
			bob.want("disembargo on=import 1 accept")
			carol.want("accept 0 from=bob embargo=")
			time.Sleep(whole - time.Second)
			synctest.Wait()
			bob.silence()
			carol.silence()
			time.Sleep(time.Second)
			synctest.Wait()
			carol.want("finish 0")
			bob.want("release 1")
			alice.do("c2 = p.creek two")
			bob.want(`call 2 creek "two" on=import 2`)
			bob.ret(2, "2nd")
			alice.must("c2 returned 2nd")
			alice.do("drop q p c2")
			bob.wantInAnyOrder("release 2", "finish 0", "finish 2")
			carol.give(0, senderHosted(5)) // too late, and given back
			carol.want("release 5")
			if n := alice.m.v.Exceeded()["Handoff"]; n != 1 {
				t.Errorf("%d handoffs were overdue, as counted", n)
			}
			bob.ret(1, "1st")
		})
	})
	t.Run("calls sent", func(t *testing.T) {
		recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
			bob.give(0, thirdParty("carol", nonceA, 1))
			bob.want("finish 0")
			alice.do("c1 = b.creek one")
			carol.wantExactly("accept 0 from=bob", `call 1 creek "one" on=answer 0`)
			time.Sleep(whole)
			synctest.Wait()
			carol.wantInAnyOrder("finish 0", "finish 1")
			alice.must("c1 failed disconnected carol")
			alice.must("c1 failed disconnected Limits.Handoff")
			alice.do("c2 = b.creek two")
			alice.must("c2 failed disconnected Limits.Handoff")
			bob.want("release 1")
			carol.fail(0, "late")
			carol.fail(1, "late")
		})
	})
}

// An Accept of the results of a call waits as long as the call takes, at a host that shows that it lives.
func TestResultsOverdue(t *testing.T) {
	limits := vat.DefaultLimits()
	begin := func(alice *localCode, bob, carol *raw) {
		bob.give(0, func(d rpc.CapDescriptor) {
			thirdParty("carol", nonceA, 1)(d)
			transport.ToContact(must(must(d.ThirdPartyHosted()).Id()).Struct()).SetOfCall(true)
		})
		bob.want("finish 0")
		alice.do("c1 = b.creek one")
		carol.wantExactly("accept 0 from=bob", `call 1 creek "one" on=answer 0`)
	}
	t.Run("alive", func(t *testing.T) {
		recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
			begin(alice, bob, carol)
			for range 3 {
				time.Sleep(limits.Handoff)
				carol.want("bootstrap 2", "finish 2")
				time.Sleep(limits.Dial - time.Second)
				carol.fail(2, "none")
				time.Sleep(time.Second)
				carol.silence()
			}
			carol.give(0, senderHosted(5))
			carol.ret(1, "1st")
			alice.must("c1 returned 1st")
			carol.want("finish 0")
			time.Sleep(time.Hour)
			carol.silence()
		})
	})
	t.Run("silent", func(t *testing.T) {
		recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
			begin(alice, bob, carol)
			time.Sleep(limits.Handoff)
			carol.want("bootstrap 2", "finish 2")
			time.Sleep(limits.Dial - time.Second)
			carol.silence()
			time.Sleep(time.Second)
			carol.wantInAnyOrder("finish 0", "finish 1")
			alice.must("c1 failed disconnected carol")
			alice.must("c1 failed disconnected Limits.Handoff")
			bob.want("release 1")
			carol.fail(0, "late")
			carol.fail(1, "late")
			carol.fail(2, "none")
		})
	})
	t.Run("silent, and nothing was sent", func(t *testing.T) {
		recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
			bob.give(0, senderHosted(0))
			bob.want("finish 0")
			alice.do("q = b.bar P")
			alice.do("p = q.cap")
			bob.want(`call 0 bar "P" on=import 0`)
			bob.ret(0, "", senderPromise(1))
			alice.do("c1 = p.creek one")
			bob.want(`call 1 creek "one" on=import 1`)
			bob.resolve(1, func(d rpc.CapDescriptor) {
				thirdParty("carol", nonceA, 2)(d)
				transport.ToContact(must(must(d.ThirdPartyHosted()).Id()).Struct()).SetOfCall(true)
			})
			bob.want("disembargo on=import 1 accept")
			carol.want("accept 0 from=bob embargo=")
			time.Sleep(limits.Handoff)
			carol.want("bootstrap 1", "finish 1")
			time.Sleep(limits.Dial)
			carol.want("finish 0")
			bob.want("release 1")
			alice.do("c2 = p.creek two")
			bob.want(`call 2 creek "two" on=import 2`)
			bob.ret(2, "2nd")
			alice.must("c2 returned 2nd")
			bob.ret(1, "1st")
			carol.fail(0, "late")
			carol.fail(1, "none")
		})
	})
}

// An embargo that is never lifted does not hold its Accept for ever.
func TestEmbargoOverdue(t *testing.T) {
	handoffTest(t, func(_ *stage, bob, alice *raw) {
		bob.provide(1, onImport(0), "alice", nonceA)
		alice.accept(0, "bob", nonceA, "m")
		alice.call(1, rawTarget{answer: true, id: 0, whole: true}, "creek", "held")
		bob.want("return 1")
		time.Sleep(vat.DefaultLimits().Handoff)
		alice.wantInAnyOrder("return 0 disconnected", "return 1 disconnected")
		bob.finish(1)
		alice.finish(0)
		alice.finish(1)
	})
}

// Results that are kept wait for the one they are kept for, once they are there, for Limits.Kept; what the introducer
// pipelines on them, for those who take the vine, does not end with that. While the call runs the Accept waits.
func TestKeptResultsOverdue(t *testing.T) {
	t.Run("not picked up", func(t *testing.T) {
		handoffTest(t, func(st *stage, bob, alice *raw) {
			bob.keep(1, "bar", "made", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			time.Sleep(vat.DefaultLimits().Kept)
			synctest.Wait()
			if n := st.members[0].v.Tables().Provisions; n != 0 {
				t.Errorf("%d provisions are left", n)
			}
			alice.accept(0, "bob", nonceA, "")
			alice.want(`return 0 failed "the provision is over: the results were not picked up within 1m0s: Limits.Kept"`)
			bob.call(2, onAnswer(1), "creek", "by the vine")
			bob.want(`return 2 "by the vine of made"`)
			alice.finish(0)
			bob.finish(2)
			bob.finish(1)
		})
	})
	t.Run("not there yet", func(t *testing.T) {
		handoffTest(t, func(st *stage, bob, alice *raw) {
			bob.keep(1, "wait", "g", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			alice.accept(0, "bob", nonceA, "")
			time.Sleep(time.Hour)
			alice.silence()
			check(st.act(st.members[0], []string{"open", "g"}))
			alice.want("return 0")
			alice.finish(0)
			bob.finish(1)
		})
	})
}
