package scenario

import (
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// tailCall calls a method of import to, whose results stay with the vat, and returns question id with them.
func (r *raw) tailCall(id, question uint32, to rawTarget, method, text string) {
	r.t.Helper()
	r.keptCall(question, to, method, text)
	r.take(id, question)
}

func (r *raw) keptCall(question uint32, to rawTarget, method, text string) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		c := must(m.NewCall())
		writeCall(c, question, to, method, text, nil)
		c.SendResultsTo().SetYourself()
	})
}

func (r *raw) take(id, question uint32) {
	r.t.Helper()
	r.send(func(m rpc.Message) {
		x := must(m.NewReturn())
		x.SetAnswerId(id)
		x.SetReleaseParamCaps(false)
		x.SetTakeFromOtherQuestion(question)
	})
}

// tailCallTest runs f when alice has made the call q, question 0 of bob's, with an object of hers, bob's import 0.
func tailCallTest(t *testing.T, f func(alice *localCode, bob *raw)) {
	recipientTest(t, 0, func(alice *localCode, bob, _ *raw) {
		bob.give(0, senderHosted(0))
		bob.want("finish 0")
		alice.do("object X")
		alice.do("q = b.back cap=X")
		alice.do("drop X")
		bob.want("call 0 back on=import 0 senderHosted 0")
		f(alice, bob)
	})
}

// A tail call to the caller's own vat: its results never cross the wire.
func TestTailCall(t *testing.T) {
	t.Run("returned before", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			bob.keptCall(5, onImport(0), "creek", "home")
			bob.want("return 5 resultsSentElsewhere")
			alice.must("q pending")
			bob.take(0, 5)
			alice.must("q returned home of X")
			bob.finish(5)
			bob.release(0, 1)
			alice.do("drop q b")
			bob.wantInAnyOrder("finish 0", "release 0")
		})
	})
	t.Run("taken before it returns", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			bob.tailCall(0, 5, onImport(0), "wait", "g")
			bob.silence()
			alice.must("q pending")
			alice.do("open g")
			alice.must("q returned")
			bob.want("return 5 resultsSentElsewhere")
			bob.finish(5)
			bob.release(0, 1)
		})
	})
	t.Run("it fails", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			bob.tailCall(0, 5, onImport(0), "fail", "overloaded: busy")
			alice.must("q failed overloaded busy")
			bob.wantInAnyOrder("return 5")
			bob.finish(5)
			bob.release(0, 1)
		})
	})
	t.Run("pipelined on", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			alice.do("y = q.cap")
			alice.do("c1 = y.creek first")
			bob.want(`call 1 creek "first" on=answer 0`)
			bob.tailCall(0, 5, onImport(0), "bar", "Y")
			bob.wantInAnyOrder("return 5 resultsSentElsewhere", "disembargo on=answer 0[0] senderLoopback")
			alice.do("c2 = y.creek second")
			alice.st.wantRan("Y")
			// What came first comes back, and the Disembargo behind it.
			bob.call(6, onAnswer(5), "creek", "first")
			bob.disembargo(onAnswer(5), receiverLoopback(0))
			alice.st.wantRan("Y", "creek first", "creek second")
			bob.wantInAnyOrder(`return 6 "first of Y"`)
			bob.ret(1, "relayed")
			alice.must("c1 returned relayed")
			alice.must("c2 returned second of Y")
			bob.finish(6)
			bob.finish(5)
			bob.release(0, 1)
			alice.do("drop q c1 c2 y")
		})
	})
}

// The caller gives up a call that has become a tail call: bob hears of it, and ends what he has asked.
func TestTailCallCanceled(t *testing.T) {
	t.Run("before it is taken", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			bob.keptCall(5, onImport(0), "wait", "g")
			alice.do("drop q")
			bob.want("finish 0")
			bob.finish(5)
			bob.take(0, 5)
			bob.wantAbort("5")
		})
	})
	t.Run("after it is taken", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			bob.tailCall(0, 5, onImport(0), "wait", "g")
			alice.do("drop q")
			bob.want("finish 0")
			bob.finish(5)
			alice.st.wantRan("X", "wait g", "canceled g")
			bob.wantInAnyOrder("return 5")
			bob.release(0, 1)
			synctest.Wait()
			if n := alice.m.shut["X"]; n != 1 {
				t.Errorf("X was shut down %d times", n)
			}
		})
	})
	t.Run("bob is lost", func(t *testing.T) {
		tailCallTest(t, func(alice *localCode, bob *raw) {
			bob.tailCall(0, 5, onImport(0), "wait", "g")
			bob.hangUp()
			alice.must("q over")
			alice.st.wantRan("X", "wait g", "canceled g")
		})
	})
}

// Results can be taken once, and only those that are kept.
func TestTailCallFaults(t *testing.T) {
	tests := []struct {
		name string
		send func(bob *raw)
	}{
		{"not asked to keep", func(bob *raw) {
			bob.call(5, onImport(0), "creek", "x")
			bob.take(0, 5)
		}},
		{"unknown call", func(bob *raw) { bob.take(0, 77) }},
		{"taken twice", func(bob *raw) {
			bob.keptCall(5, onImport(0), "wait", "g")
			bob.take(0, 5)
			bob.take(0, 5)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tailCallTest(t, func(alice *localCode, bob *raw) {
				test.send(bob)
				bob.wantAbort("0")
				alice.must("q failed disconnected")
			})
		})
	}
}
