package vat

import (
	"fmt"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3/exc"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
	"github.com/asynkron/protoactor-go/actor"
)

// What is pipelined on a call that runs waits in the actor of its answer, and nowhere else.
func TestCallsWaitInTheActorOfTheirAnswer(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	wait, release := bob.Wait(t.Context(), nil)
	defer release()
	note, releaseNote := wait.Probe().Note(t.Context(), noting(1, 1))
	defer releaseNote()

	waiting := func() (found []Node) {
		for _, n := range c.byName["bob"].Tree().all("answer") {
			if n.Waiting > 0 {
				found = append(found, n)
			}
		}
		return found
	}
	eventually(t, func() string { return "a call waits on an answer\n" + c.trees() }, func() bool { return len(waiting()) == 1 })
	answers := waiting()
	if answers[0].Waiting != 1 || answers[0].State != "running" {
		t.Errorf("want one call to wait on a running answer:\n%s", c.trees())
	}

	// The actor of that name, found by way of protoactor alone, is the one that holds the queue.
	s := c.session("bob", "alice")
	s.inspect(func(s *session) {
		for _, answerID := range s.answers.taken() {
			x := s.answers.cell(answerID)
			if fmt.Sprintf("answer/%d", answerID) != answers[0].Name {
				continue
			}
			host := x.(*tableCell)
			pid := actor.NewPID(s.vat.system.Address(), host.pid.Id)
			if !strings.HasPrefix(pid.Id, "vat/session/alice") && !strings.Contains(pid.Id, "/"+answers[0].Name) {
				t.Errorf("actor %s is not below its session", pid.Id)
			}
			asked := &lendState{}
			s.vat.system.Root.Send(pid, asked)
			if !asked.done {
				t.Errorf("no actor %s answers", pid.Id)
			} else if n := len(asked.state.(*answer).pipe.queue); n != 1 {
				t.Errorf("%d calls wait in actor %s, want 1", n, pid.Id)
			}
		}
	})

	if len(c.objects["bob"].seen()) != 0 {
		t.Errorf("the pipelined call did not wait")
	}
	c.keep("bob", c.locals["bob"])
	c.objects["bob"].let <- struct{}{}
	if _, err := note.Struct(); err != nil {
		t.Error(err)
	}
	c.objects["bob"].wantOrder(t, 1, 1)
}

// The tree has every actor, and drops them again.
func TestTree(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	p, resolver := c.promiseAt("bob")
	bob := c.ready("alice", "bob")
	kept, release := bob.Kept(t.Context(), nil)
	if _, err := kept.Struct(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ at, kind, state string }{
		{"alice", "session", "open"},
		{"alice", "transport", "0 bytes queued"},
		{"alice", "import", "settled, 1 references"},
		{"alice", "question", "returned"},
		{"bob", "answer", "returned"},
		{"bob", "export", "settled, 1 references"},
		{"bob", "promise", "unresolved"},
		{"bob", "object", "serving"},
	} {
		eventually(t, func() string {
			return fmt.Sprintf("%s has a %s that is %q\n%s", want.at, want.kind, want.state, c.trees())
		}, func() bool {
			n := c.byName[want.at].Tree().find(want.kind)
			return n != nil && n.State == want.state
		})
	}
	resolver.Reject(exc.New(exc.Failed, "", "no more"))
	p.Release()
	release()
	bob.Release()
	c.objects["bob"].letGo()
	c.settle()
	for _, v := range c.vats {
		for _, kind := range []string{"question", "answer", "import", "export", "embargo", "promise", "provision", "object"} {
			if n := v.Tree().find(kind); n != nil {
				t.Errorf("left in %s:\n%s", v.ID(), v.Tree())
			}
		}
	}
}

// An injury is a panic in the middle of a turn, in one actor of one session.
type injury struct {
	kind string
	at   string // who suffers it
	with func(s *session)
}

func injuries() []injury {
	ouch := func(what string) { panic("injected into a " + what) }
	return []injury{
		{"question", "alice", func(s *session) { first(s.questions, func(*question) { ouch("question") }) }},
		{"answer", "bob", func(s *session) { first(s.answers, func(*answer) { ouch("answer") }) }},
		{"import", "alice", func(s *session) { first(s.imports, func(*imported) { ouch("import") }) }},
		{"export", "bob", func(s *session) { first(s.exports, func(*export) { ouch("export") }) }},
		{"embargo", "alice", func(s *session) { first(s.embargoes, func(*embargo) { ouch("embargo") }) }},
		{"turn", "alice", func(*session) { ouch("turn") }},
	}
}

// first visits the entry with the lowest id.
func first[T any](t table[T], f func(*T)) {
	if t.len() == 0 {
		panic("nothing in the table of " + t.kind)
	}
	visited := false
	t.sorted(func(_ uint32, x *T) {
		if !visited {
			visited = true
			f(x)
		}
	})
}

// A panic in one actor of a session ends that session, which says so to the peer and sends nothing else of the
// turn. All other sessions and all objects go on, and everything is given back.
func TestPanicInATableActor(t *testing.T) {
	for _, x := range injuries() {
		t.Run(x.kind, func(t *testing.T) { testInjury(t, x) })
	}
}

func testInjury(t *testing.T, x injury) {
	c := newCluster(t, "alice", "bob", "carol")
	bob, carol := c.ready("alice", "bob"), c.ready("alice", "carol")
	other, alice := c.ready("bob", "carol"), c.ready("bob", "alice")

	// An embargo that stands: a promise of bob's was called, has resolved to alice, and bob has not heard of it.
	p, resolver := c.promiseAt("bob")
	kept, releaseKept := bob.Kept(t.Context(), nil)
	defer releaseKept()
	held := kept.Probe()
	early, releaseEarly := held.Note(t.Context(), noting(1, 1))
	defer releaseEarly()
	if _, err := kept.Struct(); err != nil {
		t.Fatal(err)
	}
	wait, releaseWait := bob.Wait(t.Context(), nil)
	defer releaseWait()
	arrives(t, "the call", c.objects["bob"].entered)
	c.link("alice", "bob").Hold()
	resolver.Fulfill(alice.AddRef())
	p.Release()
	eventually(t, func() string { return "an embargo\n" + c.trees() }, func() bool { return c.byName["alice"].Tables().Embargoes == 1 })
	embargoed, releaseEmbargoed := held.Note(t.Context(), noting(1, 2))
	defer releaseEmbargoed()
	elsewhere, releaseElsewhere := carol.Wait(t.Context(), nil)
	defer releaseElsewhere()
	arrives(t, "the call", c.objects["carol"].entered)

	peer := map[string]string{"alice": "bob", "bob": "alice"}[x.at]
	s := c.session(x.at, peer)
	c.session(x.at, peer).inspect(func(s *session) {
		s.send(msgRelease(4711, 1)) // an effect of a turn that fails: never to be seen
		x.with(s)
	})
	c.link("alice", "bob").Free()

	for what, call := range map[string]interface{ Done() <-chan struct{} }{"running": wait.Future, "early": early.Future, "embargoed": embargoed.Future} {
		arrives(t, "the end of the call that was "+what, call.Done())
	}
	_, err := wait.Struct()
	wantError(t, err, exc.Disconnected, "")
	if _, err := early.Struct(); err == nil {
		t.Errorf("a call on the lost session succeeded")
	}
	if x.kind != "embargo" && s.end.Load() == nil {
		t.Errorf("the session has not ended")
	}
	eventually(t, saying("the peer hears of the abort"), func() bool {
		return c.count(message{peer, false, x.at, rpc.Message_Which_abort}) == 1
	})
	if c.count(message{x.at, true, peer, rpc.Message_Which_release}) != 0 {
		t.Errorf("an effect of the failed turn went out")
	}
	// Calls behind an embargo whose Disembargo is lost fail too: order is not certain any more.
	if _, err := embargoed.Struct(); err == nil && x.at == "alice" {
		t.Errorf("a call behind the embargo was let through")
	}

	// All others go on.
	c.objects["carol"].let <- struct{}{}
	if _, err := elsewhere.Struct(); err != nil {
		t.Errorf("a call on another session: %v", err)
	}
	if err := noteOn(t.Context(), other, 7, 1); err != nil {
		t.Errorf("a call between two others: %v", err)
	}
	if err := noteOn(t.Context(), bob, 7, 1); err == nil {
		t.Errorf("a reference to a vat that was lost works again")
	}
	if err := noteOn(t.Context(), c.ready("alice", "bob"), 8, 1); err != nil {
		t.Errorf("a call on a new session: %v", err)
	}
}
