package vat

import (
	"encoding/binary"
	"errors"
	"testing"

	"capnproto.org/go/capnp/v3"
)

// A message of no kind that we know, whose content leads nowhere, is the peer's fault: it cannot even be sent back.
func TestUnknownMessageThatCannotBeCopied(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	c.ready("alice", "bob")
	frame := make([]byte, 8+3*8)
	binary.LittleEndian.PutUint32(frame[4:], 3)              // one segment of three words
	binary.LittleEndian.PutUint64(frame[8:], 1<<32|1<<48)    // the root: a word of data, a pointer
	binary.LittleEndian.PutUint16(frame[16:], 99)            // its kind
	binary.LittleEndian.PutUint64(frame[24:], 1000<<2|1<<32) // a struct a thousand words further
	msg, err := capnp.Unmarshal(frame)
	if err != nil {
		t.Fatal(err)
	}
	c.session("alice", "bob").inspect(func(s *session) { err = s.onFrame(msg) })
	var f *protocolFault
	if !errors.As(err, &f) {
		t.Errorf("the turn ends with %v, want a protocolFault", err)
	}
}

// A call that breaks the protocol carries one of our own objects: it is not held for ever.
func TestFaultyCallReleasesItsParameters(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	c.dirty = true
	alice := c.ready("bob", "alice")
	i, ok := c.byName["bob"].importOf(capnp.Client(alice))
	if !ok {
		t.Fatal("alice's bootstrap is no import")
	}
	c.session("bob", "alice").inspect(func(s *session) {
		m := newMessage()
		call := must(m.NewCall())
		call.SetQuestionId(1000)
		wireTarget{id: 99}.encode(must(call.NewTarget()))
		list := must(must(call.NewParams()).NewCapTable(1))
		list.At(0).SetReceiverHosted(i.id)
		s.send(m)
	})
	arrives(t, "the end of the session", i.s.done)
	c.shut()
	arrives(t, "the end of alice's object", c.objects["alice"].down)
}

// Two results for one answer: the second changes nothing.
func TestAnswerIsSettledOnce(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	wait, release := bob.Wait(t.Context(), nil)
	defer release()
	arrives(t, "the call", c.objects["bob"].entered)
	c.session("bob", "alice").inspect(func(s *session) {
		s.answers.sorted(func(_ uint32, a *answer) {
			a.ref.settle(result{err: failed("the first")})
			a.ref.settle(result{err: failed("the second")})
		})
	})
	if _, err := wait.Struct(); err == nil {
		t.Error("the call has succeeded")
	}
	c.session("bob", "alice").inspect(func(s *session) {
		s.answers.sorted(func(_ uint32, a *answer) {
			if got := a.pipe.res.err.Error(); got != "the first" {
				t.Errorf("the answer holds %q", got)
			}
		})
	})
}

// A session for a two-party connection is looked at before the connection is there.
func TestTreeBeforeATwoPartySessionIsOpen(t *testing.T) {
	c := newCluster(t, "alice")
	v := c.byName["alice"]
	v.mu.Lock()
	s := v.newSessionLocked("two-party:test", nil, false)
	s.transient = true
	v.mu.Unlock()
	s.inspect(func(*session) {})
	if err := s.end.Load(); err != nil {
		t.Fatalf("the session ended: %v", *err)
	}
	s.tell(&endSession{disconnected("the end of the test")})
	arrives(t, "the end of the session", s.done)
}
