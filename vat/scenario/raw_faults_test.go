package scenario

import (
	"strings"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// rawTest runs f on a stage of these vats, with every frame delivered at once, and checks that nothing is left.
func rawTest(t *testing.T, vats []string, f func(*stage)) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		st.wire.openAll()
		for _, name := range vats {
			if err := st.add(name); err != nil {
				t.Fatal(err)
			}
		}
		defer st.close()
		f(st)
		for _, after := range st.after {
			after()
		}
		st.after = nil
		synctest.Wait()
		for _, m := range st.members {
			m.letGo(st.pause)
		}
		synctest.Wait()
		for _, m := range st.members {
			if tables := m.v.Tables(); !tables.Empty() {
				t.Errorf("%s: entries are left: %+v\n%v", m.name, tables, m.v.Tree())
			}
		}
	})
}

// What a peer does against rpc.capnp ends its session, with an Abort that names the fault; other sessions go on.
func TestFaultsOfPeers(t *testing.T) {
	tests := []struct {
		name  string
		send  func(*raw)
		abort string
	}{
		{"call on an unknown import", func(r *raw) { r.call(1, onImport(77), "creek", "x") }, "export 77"},
		{"call on an unknown answer", func(r *raw) { r.call(1, onAnswer(77), "creek", "x") }, "answer 77"},
		{"call on a finished answer", func(r *raw) {
			r.bootstrap(1)
			r.finish(1)
			r.call(2, onAnswer(1), "creek", "x")
		}, "answer 1"},
		{"question id used twice", func(r *raw) {
			r.call(1, onImport(0), "wait", "g")
			r.call(1, onImport(0), "creek", "x")
		}, "1"},
		{"bootstrap with a used id", func(r *raw) {
			r.call(1, onImport(0), "wait", "g")
			r.bootstrap(1)
		}, "1"},
		{"provide with a used id", func(r *raw) {
			r.call(1, onImport(0), "wait", "g")
			r.provide(1, onImport(0), "mallory", nonceA)
		}, "1"},
		{"accept with a used id", func(r *raw) {
			r.call(1, onImport(0), "wait", "g")
			r.accept(1, "mallory", nonceA, "")
		}, "1"},
		{"finish of nothing", func(r *raw) { r.finish(77) }, "question 77"},
		{"finish twice", func(r *raw) {
			r.bootstrap(1)
			r.finish(1)
			r.finish(1)
		}, "question 1"},
		{"release of nothing", func(r *raw) { r.release(77, 1) }, "export 77"},
		{"release beyond the count", func(r *raw) { r.release(0, 2) }, "export 0"},
		{"return for nothing", func(r *raw) { r.ret(77, "x") }, "question 77"},
		{"return twice", func(r *raw) {
			r.call(1, onImport(0), "poke", "x", senderHosted(5))
			r.ret(0, "once")
			r.ret(0, "twice")
		}, "question 0"},
		{"receiverHosted unknown", func(r *raw) { r.call(1, onImport(0), "keep", "k", receiverHosted(77)) }, "77"},
		{"receiverAnswer unknown", func(r *raw) { r.call(1, onImport(0), "keep", "k", receiverAnswer(77)) }, "77"},
		{"resolve of what is no promise", func(r *raw) {
			r.call(1, onImport(0), "keep", "k", senderHosted(5))
			r.resolve(5, senderHosted(6))
		}, "Resolve of 5"},
		{"resolve to an unknown export", func(r *raw) {
			r.call(1, onImport(0), "keep", "k", senderPromise(5))
			r.resolve(5, receiverHosted(77))
		}, "77"},
		{"disembargo that came back unasked", func(r *raw) { r.disembargo(onImport(0), receiverLoopback(3)) }, "receiverLoopback"},
		{"disembargo of nothing", func(r *raw) { r.disembargo(onImport(77), senderLoopback(3)) }, "export 77"},
		{"disembargo of what has not resolved", func(r *raw) { r.disembargo(onImport(0), senderLoopback(3)) }, "export 0"},
		{"disembargo of what is hosted here", func(r *raw) {
			r.call(1, onImport(0), "bar", "x")
			r.want("return 1 senderHosted 1")
			r.disembargo(onAnswer(1), senderLoopback(3))
		}, "back to its sender"},
		{"disembargo of an accept that nobody provided", func(r *raw) { r.disembargo(onAnswer(77), acceptContext("m")) }, "answer 77"},
		{"disembargo of a call as if it were a provide", func(r *raw) {
			r.call(1, onImport(0), "wait", "g")
			r.disembargo(onAnswer(1), acceptContext("m"))
		}, "answer 1"},
		{"provide of nothing", func(r *raw) { r.provide(1, onImport(77), "mallory", nonceA) }, "77"},
		{"provide with a bad nonce", func(r *raw) { r.provide(1, onImport(0), "mallory", "short") }, "nonce"},
		{"provide without a nonce", func(r *raw) { r.provide(1, onImport(0), "mallory", "") }, "nonce"},
		{"accept with a bad nonce", func(r *raw) { r.accept(1, "mallory", "short", "") }, "nonce"},
		{"results elsewhere, unasked", func(r *raw) {
			r.call(1, onImport(0), "poke", "x", senderHosted(5))
			r.send(func(m rpc.Message) { must(m.NewReturn()).SetResultsSentElsewhere() })
		}, "question 0"},
		{"a return that takes from nowhere", func(r *raw) {
			r.call(1, onImport(0), "poke", "x", senderHosted(5))
			r.send(func(m rpc.Message) { must(m.NewReturn()).SetTakeFromOtherQuestion(9) })
		}, "question 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rawTest(t, []string{"carol"}, func(st *stage) {
				other := st.dialRaw("other", "carol").start()
				mallory := st.dialRaw("mallory", "carol").start()
				test.send(mallory)
				mallory.wantAbort(test.abort)
				other.call(1, onImport(0), "creek", "fine")
				other.want(`return 1 "fine of carol"`)
				other.finish(1)
			})
		})
	}
}

// What rpc.capnp says is to be tolerated is tolerated, and nothing is kept of it.
func TestToleratedOfPeers(t *testing.T) {
	unknown := func(d rpc.CapDescriptor) { capnp.Struct(d).SetUint16(0, 99) }
	tests := []struct {
		name string
		send func(*raw)
		want []string
	}{
		{"resolve of a promise that was released", func(r *raw) { r.resolve(77, senderHosted(5)) }, []string{"release 5"}},
		{"a second resolve, since the first ended the import", func(r *raw) {
			r.call(1, onImport(0), "keep", "k", senderPromise(5))
			r.resolve(5, senderHosted(6))
			r.resolve(5, senderHosted(7))
			r.finish(1)
		}, []string{"release 5", "release 7", "return 1"}},
		{"finish before the return", func(r *raw) {
			r.call(1, onImport(0), "wait", "g")
			r.finish(1)
		}, []string{"return 1 canceled"}},
		{"a Finish that was not needed", func(r *raw) {
			r.call(1, onImport(0), "creek", "x")
			r.want(`return 1 "x of carol"`)
			r.finish(1)
			r.call(1, onImport(0), "creek", "y")
		}, []string{`return 1 "y of carol"`}},
		{"a call on an answer of which no Finish is needed", func(r *raw) {
			r.call(1, onImport(0), "creek", "x")
			r.want(`return 1 "x of carol"`)
			r.call(2, onAnswer(1), "creek", "y")
			r.call(3, onImport(0), "poke", "y", receiverAnswer(1))
			r.finish(2)
			r.finish(3)
		}, []string{`return 2 failed "call on a null capability"`, `return 3 failed "play.capnp:Thing.creek: call on a null capability"`}},
		{"a descriptor of unknown kind", func(r *raw) {
			r.call(1, onImport(0), "poke", "x", unknown)
			r.finish(1)
		}, []string{"return 1 unimplemented"}},
		{"a descriptor of unknown kind that nobody calls", func(r *raw) {
			r.call(1, onImport(0), "creek", "x", unknown)
			r.finish(1)
		}, []string{`return 1 "x of carol"`}},
		{"an exception of unknown type", func(r *raw) {
			r.call(1, onImport(0), "poke", "x", senderHosted(5))
			r.send(func(m rpc.Message) { must(must(m.NewReturn()).NewException()).SetType(99) })
			r.finish(1)
		}, []string{"call 0 creek", "finish 0", "return 1 failed", "release 5"}},
		{"a Provide that is finished before anyone accepts", func(r *raw) {
			r.provide(1, onImport(0), "alice", nonceA)
			r.finish(1)
		}, []string{"return 1 canceled"}},
		{"an Accept that is finished before anyone provides", func(r *raw) {
			r.accept(1, "bob", nonceA, "m")
			r.finish(1)
		}, []string{"return 1 canceled"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rawTest(t, []string{"carol"}, func(st *stage) {
				r := st.dialRaw("mallory", "carol").start()
				test.send(r)
				r.wantInAnyOrder(test.want...)
				r.call(9, onImport(0), "creek", "fine")
				r.want(`return 9 "fine of carol"`)
				r.finish(9)
			})
		})
	}
}

// Messages of kinds that the vat does not have are sent back as unimplemented, and the session goes on.
func TestUnimplemented(t *testing.T) {
	tests := []struct {
		name string
		send func(rpc.Message)
		want string
	}{
		{"join", func(m rpc.Message) { must(m.NewJoin()) }, "unimplemented join"},
		{"obsoleteSave", func(m rpc.Message) { check(m.SetObsoleteSave(capnp.Ptr{})) }, "unimplemented obsoleteSave"},
		{"unknown", func(m rpc.Message) { capnp.Struct(m).SetUint16(0, 99) }, "unimplemented"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			rawTest(t, []string{"carol"}, func(st *stage) {
				r := st.dialRaw("mallory", "carol").start()
				r.send(test.send)
				r.want(test.want)
				r.call(9, onImport(0), "creek", "fine")
				r.want(`return 9 "fine of carol"`)
				r.finish(9)
			})
		})
	}
}

// A message of ours that a peer echoes as unimplemented has failed, and what it carried is released.
func TestEchoes(t *testing.T) {
	rawTest(t, []string{"carol"}, func(st *stage) {
		r := st.dialRaw("mallory", "carol").start()
		carol := st.members[0]
		echo := func(build func(rpc.Message)) {
			r.send(func(m rpc.Message) { build(must(m.NewUnimplemented())) })
		}
		// A call.
		r.call(1, onImport(0), "poke", "x", senderHosted(5))
		r.want("call 0 creek")
		echo(func(m rpc.Message) { must(m.NewCall()).SetQuestionId(0) })
		r.wantInAnyOrder("finish 0", "return 1 unimplemented", "release 5")
		r.finish(1)
		// A Resolve: export 1 is the promise, and what it resolved to is released.
		r.call(2, onImport(0), "foo", "P")
		r.want("return 2 senderPromise 1")
		check(st.act(carol, []string{"object", "X"}))
		check(st.act(carol, []string{"resolve", "P", "X"}))
		r.want("resolve 1 senderHosted 2")
		check(st.act(carol, []string{"drop", "X"}))
		r.finish(2)
		r.release(1, 1)
		if carol.shut["X"] != 0 {
			t.Error("X was shut down while the peer held it")
		}
		echo(func(m rpc.Message) { must(must(m.NewResolve()).NewCap()).SetSenderHosted(2) })
		synctest.Wait()
		if carol.shut["X"] != 1 {
			t.Errorf("X was shut down %d times", carol.shut["X"])
		}
		r.silence()
	})
}

// An Abort of the peer's ends its session, with its reason for those who wait, and nothing is sent back.
func TestAbortOfPeer(t *testing.T) {
	rawTest(t, []string{"carol"}, func(st *stage) {
		r := st.dialRaw("mallory", "carol").start()
		r.call(1, onImport(0), "keep", "K", senderHosted(5))
		r.wantInAnyOrder("return 1")
		carol := st.members[0]
		check(st.act(carol, strings.Fields("q = K.creek x")))
		r.want("call 0 creek")
		r.send(func(m rpc.Message) {
			e := must(m.NewAbort())
			check(e.SetReason("enough"))
			e.SetType(rpc.Exception_Type_failed)
		})
		r.silence()
		if err := must(carol.asked("q")).must("failed", []string{"disconnected", "enough"}); err != nil {
			t.Error(err)
		}
	})
}
