package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// scene is a directory of alice's, and the time.
type scene struct {
	*testing.T
	dir *directory
	now time.Time
}

func newScene(t *testing.T, self *announcement, limit int) *scene {
	now := time.Unix(1000, 0)
	s := &scene{T: t, dir: newDirectory(self, limit, now), now: now}
	t.Cleanup(s.check)
	return s
}

// check is what always holds of a directory.
func (s *scene) check() {
	s.Helper()
	for name, e := range s.dir.names {
		if v := s.dir.vats[e.id]; e.name != name || v == nil || v.entry != e {
			s.Errorf("name %s has an entry that no vat has", name)
		}
	}
	for id, v := range s.dir.vats {
		if v.entry != nil && (v.entry.id != id || s.dir.names[v.entry.name] != v.entry) {
			s.Errorf("vat %s has an entry that no name has", id.Short())
		}
		if v.entry != nil && v.seq < v.entry.seq {
			s.Errorf("vat %s: seq %d remembered, %d in the entry", id.Short(), v.seq, v.entry.seq)
		}
	}
	if len(s.dir.vats) > s.dir.limit {
		s.Errorf("%d vats, limit %d", len(s.dir.vats), s.dir.limit)
	}
}

// refused expects a to be refused for the cause.
func (s *scene) refused(a *announcement, want Cause) {
	s.Helper()
	var refusal *Refusal
	if err := s.dir.admit(a, s.now); !errors.As(err, &refusal) || refusal.Cause != want {
		s.Errorf("admit %s, seq %d: got %v, want %v", a.name, a.seq, err, want)
	}
	s.check()
}

// joins expects a to be admitted and to join, as news or not.
func (s *scene) joins(a *announcement, wantNews bool) {
	s.Helper()
	if err := s.dir.admit(a, s.now); err != nil {
		s.Errorf("admit %s, seq %d: %v", a.name, a.seq, err)
		return
	}
	if c, news := s.dir.join(a, s.now); news != wantNews || c != (change{a.id, a.name, Alive}) {
		s.Errorf("join %s, seq %d: change %+v, news %v, want %v", a.name, a.seq, c, news, wantNews)
	}
	s.check()
}

func (s *scene) departs(name string, state State, wantNews bool) {
	s.Helper()
	if c, news := s.dir.depart(name, state, s.now); news != wantNews || news && (c.state != state || c.name != name) {
		s.Errorf("%s %s: change %+v, news %v, want %v", name, state, c, news, wantNews)
	}
	s.check()
}

func (s *scene) at(id transport.VatID, want ...string) {
	s.Helper()
	e := s.dir.live(id)
	if e == nil || !slices.Equal(e.addresses, want) {
		s.Errorf("%s: got %+v, want it alive at %v", id.Short(), e, want)
	}
}

func (s *scene) gone(id transport.VatID) {
	s.Helper()
	if e := s.dir.live(id); e != nil {
		s.Errorf("%s is alive at %v", id.Short(), e.addresses)
	}
}

func (s *scene) pass(d time.Duration) { s.now = s.now.Add(d) }

func keyScene(t *testing.T) *scene {
	return newScene(t, newPerson("alice").says("alice", loopback, 1), maxVats)
}

func TestDirectoryKnowsItself(t *testing.T) {
	s := newScene(t, newPerson("alice").says("alice", loopback, 1, "tcp!a:1"), maxVats)
	s.at(newPerson("alice").id, "tcp!a:1")
}

func TestDirectoryJoinAndDepart(t *testing.T) {
	s, bob := keyScene(t), newPerson("bob")
	first := bob.says("bob", loopback, 5, "tcp!b:1")
	s.joins(first, true)
	s.joins(first, false)
	s.at(bob.id, "tcp!b:1")
	s.departs("bob", Failed, true)
	s.departs("bob", Failed, false)
	s.departs("bob", Left, false)
	s.gone(bob.id)
	// A false obituary, refuted: the same announcement counts again.
	s.joins(first, true)
	s.at(bob.id, "tcp!b:1")
	s.departs("nobody", Failed, false)
}

func TestDirectoryReplay(t *testing.T) {
	s, bob := keyScene(t), newPerson("bob")
	s.joins(bob.says("bob", loopback, 5, "tcp!b:5"), true)
	s.refused(bob.says("bob", loopback, 4, "tcp!b:4"), Stale)
	s.refused(bob.says("bob", loopback, 5, "tcp!b:other"), Stale)
	s.refused(bob.says("bobby", loopback, 5, "tcp!b:5"), Stale)
	s.at(bob.id, "tcp!b:5")
	s.joins(bob.says("bob", loopback, 6, "tcp!b:6"), false)
	s.refused(bob.says("bob", loopback, 5, "tcp!b:5"), Stale)
	s.at(bob.id, "tcp!b:6")
	// Being gone does not make old announcements new, nor does the end of the hold on the name.
	s.departs("bob", Left, true)
	s.pass(2 * NameHold)
	s.refused(bob.says("bob", loopback, 5, "tcp!b:5"), Stale)
	s.gone(bob.id)
}

// TestDirectoryNewerRunIsNotInstalled: memberlist turns down what was admitted, for a conflict of gossip
// addresses; the old run stands until it fails.
func TestDirectoryNewerRunIsNotInstalled(t *testing.T) {
	s, bob := keyScene(t), newPerson("bob")
	s.joins(bob.says("bob", loopback, 5, "tcp!b:5"), true)
	if err := s.dir.admit(bob.says("bob", loopback, 6, "tcp!b:6"), s.now); err != nil {
		t.Fatal(err)
	}
	s.at(bob.id, "tcp!b:5")
	s.departs("bob", Failed, true)
	s.refused(bob.says("bob", loopback, 5, "tcp!b:5"), Stale)
	s.joins(bob.says("bob", loopback, 6, "tcp!b:6"), true)
	s.at(bob.id, "tcp!b:6")
}

func TestDirectoryForgery(t *testing.T) {
	s, bob, mallory := keyScene(t), newPerson("bob"), newPerson("mallory")
	forged := bob.says("mallory", loopback, 9, "tcp!m:1")
	forged.signature = mallory.sign(forged.statement())
	s.refused(forged, Forged)
	s.gone(bob.id)

	honest := bob.says("bob", loopback, 5, "tcp!b:5")
	s.joins(honest, true)
	// Known numbers and statements do not make up for a signature.
	broken := *honest
	broken.signature = slices.Clone(honest.signature)
	broken.signature[3] ^= 1
	s.refused(&broken, Forged)
	// A forged number does not lock the vat out.
	forged.seq = 1 << 63
	s.refused(forged, Forged)
	s.joins(bob.says("bob", loopback, 6, "tcp!b:6"), false)
}

func TestDirectoryNamespaces(t *testing.T) {
	s := keyScene(t)
	s.refused(plainSays("plain:bob", "bob", 1), WrongNamespace)
	p := newScene(t, plainSays("plain:alice", "alice", 1), maxVats)
	p.refused(newPerson("bob").says("bob", loopback, 1), WrongNamespace)
	p.joins(plainSays("plain:bob", "bob", 1), true)
	p.refused(plainSays("plain:bob", "bob", 0), Stale)
	p.refused(plainSays("plain:mallory", "bob", 1), NameTaken)
	signed := plainSays("plain:carol", "carol", 1)
	signed.signature = []byte("proof")
	p.refused(signed, Forged)
	// Nobody can prove a plain name, so nobody keeps one once gone.
	p.departs("bob", Failed, true)
	p.joins(plainSays("plain:mallory", "bob", 1), true)
}

func TestDirectoryNames(t *testing.T) {
	for _, state := range []State{Failed, Left} {
		t.Run(state.String(), func(t *testing.T) {
			s, bob, mallory := keyScene(t), newPerson("bob"), newPerson("mallory")
			s.joins(bob.says("bob", loopback, 5), true)
			s.refused(mallory.says("bob", loopback, 9), NameTaken)
			s.departs("bob", state, true)
			s.refused(mallory.says("bob", loopback, 9), NameTaken)
			s.pass(NameHold - 1)
			s.refused(mallory.says("bob", loopback, 9), NameTaken)
			s.pass(1)
			s.joins(mallory.says("bob", loopback, 9), true)
			s.refused(bob.says("bob", loopback, 6), NameTaken)
			s.joins(bob.says("robert", loopback, 7), true)
		})
	}
}

// TestDirectoryRename: the old name of a vat that has a new one is nobody's, and its end is no news.
func TestDirectoryRename(t *testing.T) {
	s, bob := keyScene(t), newPerson("bob")
	s.joins(bob.says("bob", loopback, 5, "tcp!b:5"), true)
	s.joins(bob.says("robert", loopback, 6, "tcp!b:6"), false)
	s.departs("bob", Failed, false)
	s.at(bob.id, "tcp!b:6")
	s.joins(newPerson("other").says("bob", loopback, 1), true)
	s.departs("robert", Left, true)
	s.gone(bob.id)
}

func TestDirectoryIsBounded(t *testing.T) {
	s := newScene(t, newPerson("alice").says("alice", loopback, 1), 4)
	for i, name := range []string{"b", "c", "d"} {
		s.joins(newPerson(name).says(name, loopback, uint64(i)), true)
		s.pass(time.Second)
	}
	e := newPerson("e")
	s.refused(e.says("e", loopback, 1), Full)
	s.departs("c", Failed, true)
	s.pass(time.Second)
	s.departs("b", Left, true)
	s.pass(time.Second)
	// c has been gone for longest.
	s.joins(e.says("e", loopback, 1), true)
	if s.dir.vats[newPerson("c").id] != nil || s.dir.vats[newPerson("b").id] == nil {
		t.Error("forgot another than c")
	}
	s.at(newPerson("d").id)
	// One that is admitted and never joins holds its place no longer than one that is gone.
	if err := s.dir.admit(newPerson("f").says("f", loopback, 1), s.now); err != nil {
		t.Fatal(err)
	}
	s.joins(newPerson("g").says("g", loopback, 1), true)
	s.refused(newPerson("h").says("h", loopback, 1), Full)
}

func TestDirectoryMembers(t *testing.T) {
	s := keyScene(t)
	for _, name := range []string{"dave", "bob", "carol"} {
		s.joins(newPerson(name).says(name, loopback, 1, "tcp!"+name+":1"), true)
	}
	s.departs("carol", Left, true)
	var got []string
	for _, m := range s.dir.members() {
		got = append(got, fmt.Sprint(m.Name, " ", m.State, " ", m.Addresses, " ", m.ID == newPerson(m.Name).id))
	}
	want := []string{
		"alice alive [] true", "bob alive [tcp!bob:1] true", "carol left [tcp!carol:1] true", "dave alive [tcp!dave:1] true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.dir.members()[1].Addresses[0] = "changed"
	s.at(newPerson("bob").id, "tcp!bob:1")
}
