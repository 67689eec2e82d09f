package scenario

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// recipientTest runs f with a vat, alice, that has the bootstrap capability of bob, a raw peer, as b. Carol is another,
// whom nobody has called yet.
func recipientTest(t *testing.T, features transport.Features, f func(alice *localCode, bob, carol *raw)) {
	rawTest(t, []string{"alice"}, func(st *stage) {
		bob, carol := st.expectRaw("bob", features), st.expectRaw("carol", features)
		m := st.members[0]
		m.set("b", m.v.Bootstrap(context.Background(), plainID("bob")))
		bob.want("bootstrap 0")
		f(&localCode{st, m}, bob, carol)
	})
}

// localCode is the local code of one vat.
type localCode struct {
	st *stage
	m  *member
}

// do carries out an action of the language of scenario files.
func (s *localCode) do(action string) {
	s.st.t.Helper()
	if err := s.st.act(s.m, strings.Fields(action)); err != nil {
		s.st.t.Fatalf("%s: %v", action, err)
	}
	synctest.Wait()
}

// must checks what came of a call, as "q returned x".
func (s *localCode) must(claim string) {
	s.st.t.Helper()
	w := strings.Fields(claim)
	if err := must(s.m.asked(w[0])).must(w[1], w[2:]); err != nil {
		s.st.t.Errorf("must %s: %v", claim, err)
	}
}

// A promise of bob's that alice has called resolves to what carol has: the Accept is embargoed, the Disembargo goes
// to the promise, behind the calls, and the vine is held until the Accept has returned.
func TestRecipient(t *testing.T) {
	recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
		bob.give(0, senderHosted(0))
		bob.want("finish 0")
		alice.do("q = b.foo P")
		alice.do("p = q.cap")
		bob.want(`call 0 foo "P" on=import 0`)
		bob.ret(0, "", senderPromise(1))
		bob.silence()
		alice.do("c1 = p.creek first")
		bob.want(`call 1 creek "first" on=import 1`)
		bob.resolve(1, thirdParty("carol", nonceA, 2))
		bob.want("disembargo on=import 1 accept")
		carol.want("accept 0 from=bob embargo=")
		alice.do("c2 = p.creek second")
		carol.want(`call 1 creek "second" on=answer 0`)
		bob.silence()
		carol.give(0, senderHosted(7))
		// What is pipelined on the Accept may still fail with it, and the vine is what is left then.
		bob.silence()
		carol.silence()
		carol.ret(1, "2nd")
		carol.want("finish 0")
		bob.wantInAnyOrder("release 1", "release 2")
		bob.ret(1, "1st")
		alice.must("c1 returned 1st")
		alice.must("c2 returned 2nd")
		alice.do("c3 = p.creek third")
		carol.want(`call 0 creek "third" on=import 7`)
		carol.ret(0, "3rd")
		alice.must("c3 returned 3rd")
		alice.do("drop c1 c2 c3 q p b")
		carol.wantInAnyOrder("finish 0", "finish 1", "release 7")
		bob.wantInAnyOrder("finish 0", "finish 1", "release 0")
	})
}

// A capability that arrives fresh is accepted with the first call, without embargo; dropped unused, it is never
// accepted at all.
func TestFreshContact(t *testing.T) {
	recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
		bob.give(0, senderHosted(0))
		bob.want("finish 0")
		alice.do("q = b.foo C")
		bob.want("call 0 foo")
		bob.ret(0, "", thirdParty("carol", nonceA, 1))
		alice.do("c = q.cap")
		alice.do("c1 = c.creek one")
		bob.silence()
		carol.wantExactly("accept 0 from=bob", `call 1 creek "one" on=answer 0`)
		carol.give(0, senderHosted(7))
		carol.ret(1, "1st")
		alice.must("c1 returned 1st")
		alice.do("drop q c c1 b")
		carol.wantInAnyOrder("finish 0", "finish 1", "release 7")
		bob.wantInAnyOrder("finish 0", "release 0", "release 1")
	})
}

// An Accept that fails: what was sent on it is taken back and goes over the vine, in its order, and so does what comes
// later.
func TestAcceptFails(t *testing.T) {
	tests := []struct {
		name string
		fail func(carol *raw)
	}{
		{"exception", func(carol *raw) { carol.fail(0, "no such thing") }},
		{"unimplemented", func(carol *raw) {
			carol.send(func(m rpc.Message) { must(must(m.NewUnimplemented()).NewAccept()).SetQuestionId(0) })
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
				bob.give(0, thirdParty("carol", nonceA, 1))
				bob.want("finish 0")
				alice.do("c1 = b.creek one")
				alice.do("c2 = b.creek two")
				carol.wantExactly("accept 0 from=bob", `call 1 creek "one" on=answer 0`, `call 2 creek "two" on=answer 0`)
				carol.fail(2, "answered already, so it stays with this")
				carol.want("finish 2")
				test.fail(carol)
				carol.wantInAnyOrder("finish 0", "finish 1")
				carol.fail(1, "what is nobody's any more")
				bob.want(`call 0 creek "one" on=import 1`)
				alice.do("c3 = b.creek three")
				bob.want(`call 1 creek "three" on=import 1`)
				bob.ret(0, "1st")
				bob.ret(1, "3rd")
				alice.must("c1 returned 1st")
				alice.must("c2 failed failed answered already")
				alice.must("c3 returned 3rd")
				if n := alice.m.v.Handoffs(); n.Vine != 1 || n.Accepted+n.Broken != 0 {
					t.Errorf("counted: %+v", n)
				}
			})
		})
	}
}

// The session with the host is lost while calls are on the Accept: they may have been delivered, so the reference
// breaks, says why, and lets the vine go.
func TestAcceptLost(t *testing.T) {
	recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
		bob.give(0, thirdParty("carol", nonceA, 1))
		bob.want("finish 0")
		alice.do("c1 = b.creek one")
		carol.wantExactly("accept 0 from=bob", `call 1 creek "one" on=answer 0`)
		carol.hangUp()
		synctest.Wait()
		alice.must("c1 failed disconnected carol")
		alice.do("c2 = b.creek two")
		alice.must("c2 failed disconnected carol")
		bob.want("release 1")
		if n := alice.m.v.Handoffs(); n.Broken != 1 {
			t.Errorf("counted: %+v", n)
		}
	})
}

// A bootstrap that the peer does not implement.
func TestBootstrapUnimplemented(t *testing.T) {
	recipientTest(t, 0, func(alice *localCode, bob, _ *raw) {
		alice.do("c1 = b.creek one")
		bob.want("call 1 creek \"one\" on=answer 0")
		bob.send(func(m rpc.Message) { must(must(m.NewUnimplemented()).NewBootstrap()).SetQuestionId(0) })
		bob.fail(1, "what bootstrap")
		bob.want("finish 0")
		alice.must("c1 failed failed what bootstrap")
		alice.do("c2 = b.creek two")
		alice.must("c2 failed unimplemented")
	})
}

// A peer without the handoff that names a third party all the same: its vine is used.
func TestLevel1Vine(t *testing.T) {
	recipientTest(t, noFeatures, func(alice *localCode, bob, carol *raw) {
		bob.give(0, thirdParty("carol", nonceA, 1))
		bob.want("finish 0")
		alice.do("c1 = b.creek one")
		bob.want(`call 0 creek "one" on=import 1`)
		bob.ret(0, "1st")
		alice.must("c1 returned 1st")
		if carol.conn != nil {
			t.Error("alice has connected to carol")
		}
	})
}

// A Provide that the provider does not implement: the introducer goes on, and calls take the vine.
func TestProvideUnimplemented(t *testing.T) {
	recipientTest(t, 0, func(alice *localCode, bob, carol *raw) {
		bob.give(0, senderHosted(0))
		bob.want("finish 0")
		alice.m.set("c", alice.m.v.Bootstrap(context.Background(), plainID("carol")))
		carol.want("bootstrap 0")
		carol.give(0, senderHosted(0))
		carol.want("finish 0")
		alice.do("q = b.keep K cap=c")
		carol.want("provide 0 on=import 0 to=bob")
		bob.want(`call 0 keep "K" on=import 0 thirdPartyHosted`)
		carol.send(func(m rpc.Message) { must(must(m.NewUnimplemented()).NewProvide()).SetQuestionId(0) })
		bob.call(1, onImport(0), "creek", "over the vine")
		carol.want(`call 1 creek "over the vine" on=import 0`)
		carol.ret(1, "it came")
		bob.want(`return 1 "it came"`)
		carol.want("finish 1")
		bob.finish(1)
		bob.release(0, 1)
		carol.want("finish 0")
		bob.ret(0, "")
		alice.must("q returned")
	})
}
