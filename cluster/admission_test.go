package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// admits expects a decision at once.
func admits(t *testing.T, a *Admission, id transport.VatID, want bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := a.Admit(ctx, id)
	if got := err == nil; got != want || !want && !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("%s: %v", id.Short(), err)
	}
}

func TestAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bob, carol, dave := newPerson("bob"), newPerson("carol"), newPerson("dave")
		a := NewAdmission(carol.id)
		admits(t, a, carol.id, true) // before there is a node
		admits(t, a, bob.id, false)
		n := listener(Config{})
		a.follow(n)
		for i, p := range []person{bob, dave} {
			if err := n.dir.admit(p.says(string(p.id.Short()), loopback, 1), time.Now()); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				n.dir.join(p.says(string(p.id.Short()), loopback, 1), time.Now())
			}
		}
		admits(t, a, bob.id, true)
		admits(t, a, dave.id, false) // its announcement was good, and memberlist has not taken it
		admits(t, a, newPerson("mallory").id, false)
		if got := a.Refused(); got != 3 {
			t.Errorf("%d refused, want 3", got)
		}
		// One that is gone is admitted for a while.
		n.dir.depart(string(bob.id.Short()), Left, time.Now())
		time.Sleep(NameHold - 1)
		admits(t, a, bob.id, true)
		time.Sleep(time.Nanosecond)
		admits(t, a, bob.id, false)
		a.Allow(bob.id)
		admits(t, a, bob.id, true)
		admits(t, a, carol.id, false)
	})
}

// TestAdmissionWaits: a newcomer is admitted as soon as the gossip brings it, or the list, and refused when neither
// does.
func TestAdmissionWaits(t *testing.T) {
	bob := newPerson("bob")
	for name, news := range map[string]func(*Admission, *Node){
		"joins": func(_ *Admission, n *Node) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.dir.remember(bob.says("bob", loopback, 1), time.Now())
			n.dir.join(bob.says("bob", loopback, 1), time.Now())
			n.announceLocked()
		},
		"allowed": func(a *Admission, _ *Node) { a.Allow(bob.id) },
		"never":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, began := NewAdmission(), time.Now()
				n := listener(Config{})
				decided := make(chan error, 1)
				go func() { decided <- a.Admit(t.Context(), bob.id) }()
				time.Sleep(time.Second)
				a.follow(n)
				time.Sleep(time.Second)
				synctest.Wait()
				if news != nil {
					news(a, n)
				}
				err := <-decided
				if took := time.Since(began); news != nil && (err != nil || took != 2*time.Second) ||
					news == nil && (!errors.Is(err, ErrNotAdmitted) || took != AdmissionPatience) {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}
