package cluster

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/hashicorp/memberlist"
)

// rogue is a member that announces what it likes.
type rogue struct {
	t    *testing.T
	list *memberlist.Memberlist
	meta []byte
}

func (r *rogue) NodeMeta(int) []byte           { return r.meta }
func (*rogue) NotifyMsg([]byte)                {}
func (*rogue) GetBroadcasts(int, int) [][]byte { return nil }
func (*rogue) LocalState(bool) []byte          { return nil }
func (*rogue) MergeRemoteState([]byte, bool)   {}

// newRogue starts a rogue called name, with metadata made for the gossip address that it got.
func newRogue(t *testing.T, name string, meta func(at netip.AddrPort) []byte) *rogue {
	t.Helper()
	socket, at, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{t: t, meta: meta(at)}
	c := memberlist.DefaultLocalConfig()
	c.Name, c.Label, c.Transport, c.Delegate, c.Logger = name, gossipLabel, socket, r, newLog(quiet)
	c.AdvertiseAddr, c.AdvertisePort = at.Addr().String(), int(at.Port())
	// It does nothing but answer.
	c.ProbeInterval, c.GossipInterval, c.PushPullInterval = 0, 0, 0
	if r.list, err = memberlist.Create(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.list.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// meets has w exchange states with r, and returns what w refused in the course of it.
func (r *rogue) meets(w *witness) map[Cause]uint64 {
	r.t.Helper()
	before := w.Refused()
	if _, err := w.list.Join([]string{r.list.LocalNode().Address()}); err != nil {
		r.t.Fatal(err)
	}
	added := map[Cause]uint64{}
	for cause, count := range w.Refused() {
		if count > before[cause] {
			added[cause] = count - before[cause]
		}
	}
	return added
}

func TestRoguesAreRefused(t *testing.T) {
	bob, mallory := newPerson("bob"), newPerson("mallory")
	for name, c := range map[string]struct {
		member string
		says   func(at netip.AddrPort) *announcement
		want   Cause
	}{
		"odd name":       {"m\x1b[2J", func(at netip.AddrPort) *announcement { return mallory.says("m\x1b[2J", at, 1) }, Malformed},
		"plain":          {"mallory", func(netip.AddrPort) *announcement { return plainSays("plain:mallory", "mallory", 1) }, WrongNamespace},
		"another's id":   {"mallory", func(at netip.AddrPort) *announcement { return forge(bob, mallory, "mallory", at, 99) }, Forged},
		"another's meta": {"mallory", func(at netip.AddrPort) *announcement { return bob.says("bob2", at, 99) }, Forged},
		"another place":  {"bob2", func(netip.AddrPort) *announcement { return bob.says("bob2", loopback, 99) }, Forged},
		"an old run":     {"bob2", func(at netip.AddrPort) *announcement { return bob.says("bob2", at, 1) }, Stale},
		"another's name": {"bob", func(at netip.AddrPort) *announcement { return mallory.says("bob", at, 1) }, NameTaken},
	} {
		t.Run(name, func(t *testing.T) {
			alice := start(t, configOf("alice"))
			cfg := configOf("bob")
			cfg.Seq, cfg.Addresses, cfg.Join = 5, []string{"tcp!127.0.0.1:4711"}, []string{alice.GossipAddr()}
			start(t, cfg)
			alice.sees("join " + string(bob.id))
			r := newRogue(t, c.member, func(at netip.AddrPort) []byte { return encoded(t, c.says(at)) })
			if got := r.meets(alice); got[c.want] != 1 || len(got) != 1 {
				t.Errorf("refused %v, want one %v", got, c.want)
			}
			if got := alice.Addresses(bob.id); !slices.Equal(got, cfg.Addresses) {
				t.Errorf("bob is at %v", got)
			}
			if id, _ := alice.Lookup("bob"); id != bob.id {
				t.Errorf("bob is %s", id)
			}
			if got := len(alice.Members()); got != 2 {
				t.Errorf("%d members", got)
			}
		})
	}
}

// forge is what signer makes of an announcement of id's.
func forge(of, signer person, name string, at netip.AddrPort, seq uint64) *announcement {
	a := of.says(name, at, seq)
	a.signature = signer.sign(a.statement())
	return a
}

// TestRogueBecomesHonest shows that the rogue of the other tests is refused for what it says alone.
func TestRogueBecomesHonest(t *testing.T) {
	alice, mallory := start(t, configOf("alice")), newPerson("mallory")
	r := newRogue(t, "mallory", func(at netip.AddrPort) []byte {
		return encoded(t, mallory.says("mallory", at, 1, "tcp!127.0.0.1:6666"))
	})
	if got := r.meets(alice); len(got) != 0 {
		t.Errorf("refused %v", got)
	}
	alice.sees("join " + string(mallory.id))
	if got := alice.Addresses(mallory.id); !slices.Equal(got, []string{"tcp!127.0.0.1:6666"}) {
		t.Errorf("mallory is at %v", got)
	}
}

func TestNoiseIsRefused(t *testing.T) {
	alice := start(t, configOf("alice"))
	for _, meta := range []string{"", "not an announcement", "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		r := newRogue(t, "mallory", func(netip.AddrPort) []byte { return []byte(meta) })
		if got := r.meets(alice); got[Malformed] != 1 || len(got) != 1 {
			t.Errorf("%q: refused %v", meta, got)
		}
	}
	if got := len(alice.Members()); got != 1 {
		t.Errorf("%d members", got)
	}
}
