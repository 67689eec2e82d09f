package scenario

import (
	"testing"

	"capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// An id that the callee has chosen is its own again with the Finish and the Return, whatever else becomes of the call.
func TestAnnouncedIDAgain(t *testing.T) {
	// again has carol answer q2 under the id that she had for q.
	again := func(alice *localCode, bob, carol *raw) {
		alice.do("q2 = b.creek y")
		bob.want(`call 0 creek "y"`)
		bob.await(0, "carol", nonceB)
		carol.answer(announced, "bob", nonceB)
		bob.want("finish 0")
		carol.ret(announced, "again")
		alice.must("q2 returned again")
		alice.do("drop q2")
		carol.want("finish 1073741824")
	}
	for name, first := range map[string]string{"returned with what another call is to return": "take", "given up before": "finish"} {
		t.Run(name, func(t *testing.T) {
			awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
				bob.await(0, "carol", nonceA)
				carol.answer(announced, "bob", nonceA)
				bob.want("finish 0")
				carol.keptCall(5, onImport(0), "wait", "g")
				if first == "take" {
					carol.take(announced, 5)
				}
				alice.do("drop q")
				carol.want("finish 1073741824")
				if first == "finish" {
					carol.take(announced, 5)
				}
				again(alice, bob, carol)
				carol.finish(5)
				alice.st.wantRan("alice", "keep b", "wait g", "canceled g")
				carol.want("return 5")
			})
		})
	}
	t.Run("returned, and no Finish is needed", func(t *testing.T) {
		awaitTest(t, func(alice *localCode, bob, carol, mallory *raw) {
			spared := func(text string) {
				carol.send(func(m rpc.Message) {
					x := must(m.NewReturn())
					x.SetAnswerId(announced)
					x.SetNoFinishNeeded(true)
					writePayload(must(x.NewResults()), text, nil)
				})
			}
			alice.do("q2 = b.creek y")
			bob.want(`call 1 creek "y"`)
			// Before anybody has said that she may answer.
			carol.answer(announced, "bob", nonceA)
			spared("one")
			carol.answer(announced, "bob", nonceB)
			spared("two")
			bob.await(1, "carol", nonceB)
			alice.must("q2 returned two")
			bob.await(0, "carol", nonceA)
			alice.must("q returned one")
			bob.wantInAnyOrder("finish 0", "finish 1")
			alice.do("drop q q2")
			carol.silence()
		})
	})
}

// What the recipient had pipelined keeps a call that it has finished, and that alone: it is canceled with the last of it.
func TestAnsweredAndPipelined(t *testing.T) {
	answeredTest(t, func(carol *localCode, alice, bob *raw) {
		bob.forward(1, "wait", "g", "alice", nonceA)
		bob.want("return 1 resultsSentElsewhere")
		alice.want("thirdPartyAnswer 1073741824")
		alice.call(2, onAnswer(announced), "creek", "first")
		alice.call(3, onAnswer(announced), "creek", "second")
		bob.finish(1)
		alice.finish(announced)
		alice.finish(2)
		alice.want("return 2 canceled")
		carol.st.wantRan("carol", "wait g")
		alice.finish(3)
		alice.wantInAnyOrder("return 3 canceled", "return 1073741824 canceled")
		carol.st.wantRan("carol", "wait g", "canceled g")
	})
}

// A call to what its own results are to say: it waits for as long as somebody waits for it, and no longer.
func TestAnsweredByItself(t *testing.T) {
	answeredTest(t, func(carol *localCode, alice, bob *raw) {
		bob.accept(1, "bob", nonceB, "")
		bob.forwardTo(rawTarget{answer: true, id: 1, whole: true}, 2, "creek", "x", "alice", nonceA)
		bob.want("return 2 resultsSentElsewhere")
		alice.want("thirdPartyAnswer 1073741824")
		bob.provide(3, onAnswer(2), "bob", nonceB)
		bob.wantInAnyOrder("return 1 senderPromise 1", "return 3")
		bob.finish(1)
		bob.finish(3)
		bob.release(1, 1)
		bob.finish(2)
		if bob.silence(); carol.m.v.Tables().Promises == 0 {
			t.Error("it does not wait")
		}
		alice.finish(announced)
		alice.want("return 1073741824 canceled")
		if n := carol.m.v.Tables().Promises; n != 0 {
			t.Errorf("%d promises are left", n)
		}
	})
}
