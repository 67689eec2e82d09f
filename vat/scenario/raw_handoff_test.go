package scenario

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// nonceA is a nonce of 16 bytes.
const nonceA = "nonce aaaaaaaaaa"

// handoffTest runs f with a vat, carol, that raw peers introduce to each other.
func handoffTest(t *testing.T, f func(st *stage, bob, alice *raw)) {
	rawTest(t, []string{"carol"}, func(st *stage) {
		f(st, st.dialRaw("bob", "carol").start(), st.dialRaw("alice", "carol"))
	})
}

func (st *stage) wantRan(object string, calls ...string) {
	st.t.Helper()
	synctest.Wait()
	for _, m := range st.members {
		m.mu.Lock()
		ran := slices.Clone(m.ran[object])
		m.mu.Unlock()
		if len(ran) > 0 || len(calls) == 0 {
			if !slices.Equal(ran, calls) {
				st.t.Errorf("%s ran %q, want %q", object, ran, calls)
			}
			return
		}
	}
	st.t.Errorf("%s ran nothing, want %q", object, calls)
}

// A provision goes to the vat that the introducer named, and to no other, whatever that one knows.
func TestStranger(t *testing.T) {
	handoffTest(t, func(st *stage, bob, alice *raw) {
		mallory := st.dialRaw("mallory", "carol")
		const refused = `"the provision is not for`
		// Mallory comes first, and learns nothing before the introducer has spoken.
		mallory.accept(0, "bob", nonceA, "")
		mallory.silence()
		bob.provide(1, onImport(0), "alice", nonceA)
		bob.silence()
		mallory.want("return 0 failed " + refused)
		// Once it is there; with an embargo; and what she pipelines on it.
		mallory.accept(1, "bob", nonceA, "")
		mallory.want("return 1 failed " + refused)
		mallory.accept(2, "bob", nonceA, "m")
		mallory.want("return 2 failed " + refused)
		mallory.call(3, rawTarget{answer: true, id: 1, whole: true}, "creek", "hers")
		mallory.want("return 3 failed " + refused)
		st.wantRan("carol")

		alice.accept(0, "bob", nonceA, "")
		alice.want("return 0 senderHosted 0")
		bob.want("return 1")
		alice.call(1, onImport(0), "creek", "mine")
		alice.want(`return 1 "mine of carol"`)
		st.wantRan("carol", "creek mine")
		for id := range uint32(4) {
			mallory.finish(id)
		}
		alice.finish(0)
		alice.finish(1)
		bob.finish(1)
	})
}

// The same nonce of another introducer is another provision: naming the wrong one waits for what never comes.
func TestWrongIntroducer(t *testing.T) {
	handoffTest(t, func(_ *stage, bob, alice *raw) {
		bob.provide(1, onImport(0), "alice", nonceA)
		alice.accept(0, "dave", nonceA, "")
		alice.silence()
		time.Sleep(31 * time.Second)
		alice.want("return 0 disconnected")
		alice.accept(1, "bob", nonceA, "")
		alice.want("return 1 senderHosted")
		bob.want("return 1")
		alice.finish(0)
		alice.finish(1)
		bob.finish(1)
	})
}

// An Accept under embargo gets no Return, and what is pipelined on it does not run, before the Disembargo has
// come, which takes the same road as the calls before it.
func TestEmbargoedAccept(t *testing.T) {
	whole := rawTarget{answer: true, id: 0, whole: true}
	provide := func(bob, _ *raw) { bob.provide(1, onImport(0), "alice", nonceA) }
	accept := func(_, alice *raw) {
		alice.accept(0, "bob", nonceA, "m")
		alice.call(1, whole, "creek", "second")
	}
	call := func(bob, _ *raw) { bob.call(2, onImport(0), "creek", "first") }
	lift := func(bob, _ *raw) {
		bob.disembargo(rawTarget{answer: true, id: 1, whole: true}, acceptContext("m"))
	}
	tests := []struct {
		name  string
		steps []func(bob, alice *raw)
	}{
		{"provide first", []func(bob, alice *raw){provide, accept, call, lift}},
		{"accept first", []func(bob, alice *raw){accept, provide, call, lift}},
		{"disembargo before accept", []func(bob, alice *raw){provide, call, lift, accept}},
		{"accept just before disembargo", []func(bob, alice *raw){provide, call, accept, lift}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			handoffTest(t, func(st *stage, bob, alice *raw) {
				for _, step := range test.steps {
					step(bob, alice)
				}
				st.wantRan("carol", "creek first", "creek second")
				alice.wantInAnyOrder("return 0 senderHosted 0", `return 1 "second of carol"`)
				bob.wantInAnyOrder("return 1", `return 2 "first of carol"`)
				for id := range uint32(2) {
					alice.finish(id)
				}
				bob.finish(1)
				bob.finish(2)
			})
		})
	}
}

// The wrong embargo's Disembargo lifts nothing.
func TestOtherEmbargo(t *testing.T) {
	handoffTest(t, func(_ *stage, bob, alice *raw) {
		bob.provide(1, onImport(0), "alice", nonceA)
		alice.accept(0, "bob", nonceA, "m")
		bob.want("return 1")
		bob.disembargo(rawTarget{answer: true, id: 1, whole: true}, acceptContext("another"))
		alice.silence()
		bob.disembargo(rawTarget{answer: true, id: 1, whole: true}, acceptContext("m"))
		alice.want("return 0 senderHosted")
		alice.finish(0)
		bob.finish(1)
	})
}

// What the introducer withdraws, or takes down with it, is not waited for.
func TestIntroducerLeaves(t *testing.T) {
	t.Run("finish under embargo", func(t *testing.T) {
		handoffTest(t, func(_ *stage, bob, alice *raw) {
			bob.provide(1, onImport(0), "alice", nonceA)
			alice.accept(0, "bob", nonceA, "m")
			bob.want("return 1")
			bob.finish(1)
			alice.want("return 0 failed")
			alice.finish(0)
		})
	})
	t.Run("lost under embargo", func(t *testing.T) {
		handoffTest(t, func(_ *stage, bob, alice *raw) {
			bob.provide(1, onImport(0), "alice", nonceA)
			alice.accept(0, "bob", nonceA, "m")
			bob.hangUp()
			alice.want("return 0 disconnected")
			alice.finish(0)
		})
	})
	t.Run("finish before the accept", func(t *testing.T) {
		handoffTest(t, func(_ *stage, bob, alice *raw) {
			bob.provide(1, onImport(0), "alice", nonceA)
			bob.finish(1)
			bob.want("return 1 canceled")
			alice.accept(0, "bob", nonceA, "")
			alice.want("return 0 failed")
			alice.finish(0)
		})
	})
	t.Run("lost after the accept", func(t *testing.T) {
		handoffTest(t, func(st *stage, bob, alice *raw) {
			bob.provide(1, onImport(0), "alice", nonceA)
			alice.accept(0, "bob", nonceA, "")
			alice.want("return 0 senderHosted 0")
			bob.hangUp()
			alice.call(1, onImport(0), "creek", "still")
			alice.want(`return 1 "still of carol"`)
			alice.finish(0)
			alice.finish(1)
		})
	})
}

// A nonce is good for its recipient as often as it asks, while the Provide stands, and for one Provide.
func TestNonceAgain(t *testing.T) {
	handoffTest(t, func(_ *stage, bob, alice *raw) {
		bob.provide(1, onImport(0), "alice", nonceA)
		bob.provide(2, onImport(0), "alice", nonceA)
		bob.want("return 2 failed")
		alice.accept(0, "bob", nonceA, "")
		alice.want("return 0 senderHosted 0")
		bob.want("return 1")
		alice.accept(1, "bob", nonceA, "")
		alice.want("return 1 senderHosted 0")
		alice.finish(0)
		alice.finish(1)
		bob.finish(1)
		alice.accept(2, "bob", nonceA, "")
		alice.want("return 2 failed")
		alice.finish(2)
		bob.finish(2)
	})
}

// keep makes a call on the bootstrap capability with its result kept for a vat.
func (r *raw) keep(id uint32, method, text, recipient, nonce string) {
	r.send(func(m rpc.Message) {
		c := must(m.NewCall())
		writeCall(c, id, onImport(0), method, text, nil)
		c.SetAllowThirdPartyTailCall(true)
		await := must(transport.NewToAwait(c.Segment()))
		encode(plainID(recipient), must(await.NewRecipient()))
		kept := must(await.NewResults(1)).At(0)
		check(kept.SetNonce([]byte(nonce)))
		must(kept.NewPath(1)).Set(0, 0)
		check(c.SendResultsTo().SetThirdParty(await.ToPtr()))
	})
}

// Kept results: Carol returns at once, runs the call, and has its capability for whom it was named to.
func TestKeptResults(t *testing.T) {
	t.Run("picked up", func(t *testing.T) {
		handoffTest(t, func(st *stage, bob, alice *raw) {
			bob.keep(1, "bar", "made", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			st.wantRan("carol", "bar made")
			stranger := st.dialRaw("mallory", "carol")
			stranger.accept(0, "bob", nonceA, "")
			stranger.want("return 0 failed")
			stranger.finish(0)
			alice.accept(0, "bob", nonceA, "m")
			alice.call(1, rawTarget{answer: true, id: 0, whole: true}, "creek", "held")
			alice.silence()
			bob.disembargo(rawTarget{answer: true, id: 1, whole: true}, acceptContext("m"))
			alice.wantInAnyOrder("return 0 senderHosted 0", `return 1 "held of made"`)
			bob.finish(1)
			alice.finish(0)
			alice.finish(1)
			alice.call(2, onImport(0), "creek", "mine")
			alice.want(`return 2 "mine of made"`)
			alice.finish(2)
			alice.release(0, 1)
			synctest.Wait()
			if n := st.members[0].shut["made"]; n != 1 {
				t.Errorf("the object was shut down %d times", n)
			}
		})
	})
	t.Run("never picked up", func(t *testing.T) {
		handoffTest(t, func(st *stage, bob, _ *raw) {
			bob.keep(1, "wait", "g", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			bob.finish(1)
			st.wantRan("carol", "wait g", "canceled g")
		})
	})
	t.Run("failed", func(t *testing.T) {
		handoffTest(t, func(_ *stage, bob, alice *raw) {
			bob.keep(1, "fail", "overloaded: busy", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			alice.accept(0, "bob", nonceA, "")
			alice.want(`return 0 overloaded "busy"`)
			bob.finish(1)
			alice.finish(0)
		})
	})
	t.Run("under a nonce that is taken", func(t *testing.T) {
		handoffTest(t, func(_ *stage, bob, alice *raw) {
			bob.provide(0, onImport(0), "alice", nonceA)
			bob.keep(1, "bar", "made", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			bob.finish(1)
			alice.accept(0, "bob", nonceA, "")
			alice.want("return 0 senderHosted 0")
			bob.want("return 0")
			alice.call(1, onImport(0), "creek", "what was provided")
			alice.want(`return 1 "what was provided of carol"`)
			bob.finish(0)
			alice.finish(0)
			alice.finish(1)
		})
	})
	t.Run("of a tail call", func(t *testing.T) {
		handoffTest(t, func(st *stage, bob, alice *raw) {
			dave := st.dialRaw("dave", "carol").start()
			dave.call(1, onImport(0), "keep", "D", senderHosted(0))
			dave.want("return 1")
			bob.keep(1, "tail", "D bar N", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			dave.wantExactly(`call 0 bar "N" on=import 0`) // and comes back: it is carol who keeps the results
			alice.accept(0, "bob", nonceA, "")
			alice.silence()
			dave.ret(0, "", senderHosted(1))
			alice.want("return 0 thirdPartyHosted")
			bob.finish(1)
			alice.finish(0)
		})
	})
	t.Run("null", func(t *testing.T) {
		handoffTest(t, func(_ *stage, bob, alice *raw) {
			bob.keep(1, "creek", "nothing", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			alice.accept(0, "bob", nonceA, "")
			alice.want("return 0")
			bob.finish(1)
			alice.finish(0)
		})
	})
}
