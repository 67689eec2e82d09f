package scenario

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// toAwait names a vat to expect.
func toAwait(seg *capnp.Segment, of, nonce string) capnp.Ptr {
	await := must(transport.NewToAwait(seg))
	encode(plainID(of), must(await.NewRecipient()))
	check(await.SetNonce([]byte(nonce)))
	return await.ToPtr()
}

// await returns question id: the vat called of answers it.
func (r *raw) await(id uint32, of, nonce string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewReturn())
		x.SetAnswerId(id)
		x.SetReleaseParamCaps(false)
		check(x.SetAwaitFromThirdParty(toAwait(m.Segment(), of, nonce)))
	})
}

// answer announces the answer to a call that the vat called introducer has forwarded.
func (r *raw) answer(id uint32, introducer, nonce string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		a := must(m.NewThirdPartyAnswer())
		a.SetAnswerId(id)
		done := must(transport.NewToComplete(m.Segment()))
		encode(plainID(introducer), must(done.NewIntroducer()))
		check(done.SetNonce([]byte(nonce)))
		check(a.SetCompletion(done.ToPtr()))
	})
}

// forward calls import 0, with the results for the vat called recipient.
func (r *raw) forward(id uint32, method, text, recipient, nonce string) {
	r.t.Helper()
	r.forwardTo(onImport(0), id, method, text, recipient, nonce)
}

// forwardTo calls something else.
func (r *raw) forwardTo(to rawTarget, id uint32, method, text, recipient, nonce string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		c := must(m.NewCall())
		writeCall(c, id, to, method, text, nil)
		check(c.SendResultsTo().SetThirdParty(toAwait(m.Segment(), recipient, nonce)))
	})
}

// announced are ids that a callee chooses.
const announced = 1 << 30

const nonceB = "fedcba9876543210"

// awaitTest runs f when alice has made the call q, question 0 of bob's; carol and mallory have sessions with her.
func awaitTest(t *testing.T, f func(alice *localCode, bob, carol, mallory *raw)) {
	rawTest(t, []string{"alice"}, func(st *stage) {
		carol, mallory := st.dialRaw("carol", "alice").start(), st.dialRaw("mallory", "alice").start()
		bob := st.dialRaw("bob", "alice").start()
		alice := &localCode{st, st.members[0]}
		bob.call(1, onImport(0), "keep", "b", senderHosted(0))
		bob.want("return 1")
		bob.finish(1)
		alice.do("q = b.creek x")
		bob.want(`call 0 creek "x" on=import 0`)
		f(alice, bob, carol, mallory)
	})
}

// The answer is taken from the vat that was named, or from the one that has named it, whatever comes first; from nobody
// else, who may know the nonce or not.
func TestAwaited(t *testing.T) {
	t.Run("by the vat that was named", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			mallory.answer(announced, "bob", nonceA) // before anybody has said that it may
			bob.await(0, "carol", nonceA)
			mallory.answer(announced+1, "bob", nonceA)
			mallory.want("finish 1073741825")
			mallory.ret(announced, "wrong")
			mallory.ret(announced+1, "wrong")
			carol.answer(announced, "mallory", nonceA) // of another introducer
			alice.must("q pending")
			carol.answer(announced+7, "bob", nonceA)
			bob.want("finish 0")
			carol.ret(announced+7, "right")
			alice.must("q returned right")
			carol.answer(announced+8, "bob", nonceA)
			carol.want("finish 1073741832")
			carol.ret(announced+8, "late")
			if n := alice.m.v.Exceeded()["refused answers"]; n != 1 {
				t.Errorf("%d refused", n)
			}
			alice.do("drop q")
			carol.want("finish 1073741831")
			time.Sleep(time.Minute)
			mallory.want("finish 1073741824")
			carol.want("finish 1073741824")
			carol.ret(announced, "nothing")
		})
	})
	t.Run("which answers first", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			carol.answer(announced, "bob", nonceA)
			carol.fail(announced, "no such thing")
			carol.silence()
			alice.must("q pending")
			bob.await(0, "carol", nonceA)
			bob.want("finish 0")
			alice.must("q failed failed no such thing")
			alice.do("drop q")
			carol.want("finish 1073741824")
		})
	})
	t.Run("taken back by the introducer", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			bob.await(0, "carol", nonceA)
			bob.answer(announced, "bob", nonceA)
			bob.want("finish 0")
			bob.ret(announced, "after all")
			alice.must("q returned after all")
			carol.answer(announced, "bob", nonceA)
			carol.want("finish 1073741824")
			carol.ret(announced, "too late")
			alice.do("drop q")
			bob.want("finish 1073741824")
		})
	})
	t.Run("forwarded once more", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			bob.await(0, "carol", nonceA)
			carol.answer(announced, "bob", nonceA)
			bob.want("finish 0")
			carol.await(announced, "mallory", nonceA)
			mallory.answer(announced, "carol", nonceA)
			carol.want("finish 1073741824")
			mallory.ret(announced, "it was me")
			alice.must("q returned it was me")
			alice.do("drop q")
			mallory.want("finish 1073741824")
		})
	})
}

// Nobody answers: the call fails when Limits.Awaited has passed, and says who did not. What comes then is let go of.
func TestAwaitedInVain(t *testing.T) {
	awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
		bob.await(0, "carol", nonceA)
		time.Sleep(30*time.Second - 1)
		synctest.Wait()
		alice.must("q pending")
		time.Sleep(time.Nanosecond)
		bob.want("finish 0")
		alice.must("q failed disconnected bob forwarded the call to carol, which has not answered within 30s: Limits.Awaited")
		carol.answer(announced, "bob", nonceA)
		carol.want("finish 1073741824")
		carol.ret(announced, "too late")
		alice.do("drop q")
	})
}

// The answer is here, and is lost with its session, or the call with that of the introducer.
func TestAwaitedAndLost(t *testing.T) {
	t.Run("the session of who answers", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			bob.await(0, "carol", nonceA)
			carol.answer(announced, "bob", nonceA)
			bob.want("finish 0")
			carol.hangUp()
			alice.must("q failed disconnected connection to carol lost")
			alice.do("drop q")
		})
	})
	t.Run("before it was awaited", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			mallory.answer(announced, "bob", nonceA)
			mallory.ret(announced, "early")
			mallory.hangUp()
			bob.await(0, "mallory", nonceA)
			alice.must("q pending")
			bob.answer(announced, "bob", nonceA)
			bob.want("finish 0")
			bob.fail(announced, "mallory is lost")
			alice.must("q failed failed mallory is lost")
			alice.do("drop q")
			bob.want("finish 1073741824")
		})
	})
	t.Run("the session of the introducer", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			bob.await(0, "carol", nonceA)
			bob.hangUp()
			alice.must("q failed disconnected connection to bob lost")
			carol.answer(announced, "bob", nonceA)
			carol.want("finish 1073741824")
			carol.ret(announced, "too late")
			alice.do("drop q b")
		})
	})
	t.Run("the session of the introducer, but the answer is here", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			bob.await(0, "carol", nonceA)
			carol.answer(announced, "bob", nonceA)
			bob.want("finish 0")
			bob.hangUp()
			carol.ret(announced, "here I am")
			alice.must("q returned here I am")
			alice.do("drop q b")
			carol.want("finish 1073741824")
		})
	})
}

// A Return that sends the caller to a third party in a way that it may not.
func TestAwaitFaults(t *testing.T) {
	tests := []struct {
		name  string
		send  func(bob *raw)
		fault string
	}{
		{"no nonce", func(bob *raw) { bob.await(0, "carol", "") }, "without a nonce"},
		{"a short nonce", func(bob *raw) { bob.await(0, "carol", "short") }, "nonce of 5 bytes"},
		{"twice", func(bob *raw) {
			bob.await(0, "carol", nonceA)
			bob.await(0, "carol", nonceB)
		}, "second Return"},
		{"results after it", func(bob *raw) {
			bob.await(0, "carol", nonceA)
			bob.ret(0, "after all")
		}, "second Return"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
				test.send(bob)
				bob.wantAbort(test.fault)
				alice.must("q failed disconnected")
				alice.do("drop q b")
			})
		})
	}
	t.Run("a nonce for two calls", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			alice.do("q2 = b.creek y")
			bob.want(`call 1 creek "y"`)
			bob.await(0, "carol", nonceA)
			bob.await(1, "carol", nonceA)
			bob.wantAbort("nonce")
			alice.do("drop q q2 b")
		})
	})
}

// answeredTest runs f with a vat, carol, of whom bob and alice have the bootstrap capability as import 0.
func answeredTest(t *testing.T, f func(carol *localCode, alice, bob *raw)) {
	rawTest(t, []string{"carol"}, func(st *stage) {
		alice, bob := st.dialRaw("alice", "carol").start(), st.dialRaw("bob", "carol").start()
		f(&localCode{st, st.members[0]}, alice, bob)
	})
}

// A call for a third party is answered to that one, and may be pipelined on by both.
func TestAnswered(t *testing.T) {
	answeredTest(t, func(carol *localCode, alice, bob *raw) {
		bob.forward(1, "bar", "N", "alice", nonceA)
		bob.want("return 1 resultsSentElsewhere")
		alice.want("thirdPartyAnswer 1073741824 from=bob", "return 1073741824 senderHosted 1")
		bob.call(2, onAnswer(1), "creek", "of bob's")
		alice.call(2, onAnswer(announced), "creek", "of alice's")
		bob.want(`return 2 "of bob's of N"`)
		alice.want(`return 2 "of alice's of N"`)
		for _, r := range []*raw{alice, bob} {
			r.finish(2)
		}
		bob.finish(1)
		bob.forward(1, "fail", "overloaded: busy", "alice", nonceB)
		bob.want("return 1 resultsSentElsewhere")
		alice.want("thirdPartyAnswer 1073741825 from=bob", `return 1073741825 overloaded "busy"`)
		alice.finish(announced + 1)
		bob.finish(1)
		alice.finish(announced)
		alice.release(1, 1)
	})
}

// The call is canceled when both the introducer and the recipient have finished it, in any order, and only then: not by
// the first of them, and not when it has returned.
func TestAnsweredAndFinished(t *testing.T) {
	steps := []string{"bob", "alice", "open"}
	for _, order := range permutations(steps) {
		t.Run(order[0]+" "+order[1], func(t *testing.T) {
			answeredTest(t, func(carol *localCode, alice, bob *raw) {
				bob.forward(1, "wait", "g", "alice", nonceA)
				bob.want("return 1 resultsSentElsewhere")
				alice.want("thirdPartyAnswer 1073741824")
				for _, step := range order {
					switch step {
					case "bob":
						bob.finish(1)
					case "alice":
						alice.finish(announced)
					case "open":
						carol.do("open g")
					}
				}
				want := []string{"wait g", "canceled g"}
				if slices.Index(order, "open") < 2 {
					want = want[:1]
				}
				carol.st.wantRan("carol", want...)
				if heard := alice.hear(); len(heard) != 1 {
					t.Errorf("alice heard %q, want one Return", heard)
				}
				bob.silence()
			})
		})
	}
}

func permutations(of []string) [][]string {
	if len(of) < 2 {
		return [][]string{of}
	}
	var all [][]string
	for i, first := range of {
		rest := append(slices.Clone(of[:i]), of[i+1:]...)
		for _, p := range permutations(rest) {
			all = append(all, append([]string{first}, p...))
		}
	}
	return all
}

// The recipient is lost: the call is given back to the introducer, whether it has returned or not.
func TestAnsweredAndLost(t *testing.T) {
	t.Run("before it returns", func(t *testing.T) {
		answeredTest(t, func(carol *localCode, alice, bob *raw) {
			bob.forward(1, "wait", "g", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			alice.hangUp()
			bob.want("thirdPartyAnswer 1073741824 from=bob")
			carol.do("open g")
			bob.want("return 1073741824")
			bob.finish(announced)
			bob.finish(1)
		})
	})
	t.Run("after", func(t *testing.T) {
		answeredTest(t, func(carol *localCode, alice, bob *raw) {
			bob.forward(1, "creek", "x", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			alice.hangUp()
			bob.want("thirdPartyAnswer 1073741824 from=bob", `return 1073741824 "x of carol"`)
			bob.finish(1)
			bob.finish(announced)
		})
	})
	t.Run("after the introducer has finished", func(t *testing.T) {
		answeredTest(t, func(carol *localCode, alice, bob *raw) {
			bob.forward(1, "wait", "g", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			bob.finish(1)
			alice.hangUp()
			bob.silence()
			carol.st.wantRan("carol", "wait g", "canceled g")
		})
	})
	t.Run("and so is the introducer", func(t *testing.T) {
		answeredTest(t, func(carol *localCode, alice, bob *raw) {
			bob.forward(1, "wait", "g", "alice", nonceA)
			bob.want("return 1 resultsSentElsewhere")
			bob.hangUp()
			carol.st.wantRan("carol", "wait g")
			alice.hangUp()
			carol.st.wantRan("carol", "wait g", "canceled g")
		})
	})
}
