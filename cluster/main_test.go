package cluster

import (
	"crypto/ed25519"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/transport"
)

// asChild is what this program is when it is started as a node of its own, and not to test: see process_test.go.
var asChild = func() bool { return false }

func TestMain(m *testing.M) {
	if asChild() {
		return
	}
	// Close does not wait for a probe: see there.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

// quiet is a logger for tests that do not look at the log.
var quiet = slog.New(slog.DiscardHandler)

// fast is the pace of the tests. Suspicion is long against the probes: a busy machine must not fail members.
var fast = Timing{
	ProbeInterval:    100 * time.Millisecond,
	ProbeTimeout:     80 * time.Millisecond,
	SuspicionMult:    25,
	GossipInterval:   20 * time.Millisecond,
	PushPullInterval: 300 * time.Millisecond,
	StreamTimeout:    5 * time.Second,
	DeadTime:         30 * time.Second,
	MaxSlowdown:      1,
}

var loopback = netip.MustParseAddrPort("127.0.0.1:7946")

// person is a key and its id.
type person struct {
	key ed25519.PrivateKey
	id  transport.VatID
}

// newPerson makes the same key for the same name each time.
func newPerson(name string) person {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	key := ed25519.NewKeyFromSeed(seed)
	return person{key: key, id: transport.KeyVatID(key.Public().(ed25519.PublicKey))}
}

func (p person) sign(b []byte) []byte { return ed25519.Sign(p.key, b) }

// says returns a signed announcement.
func (p person) says(name string, at netip.AddrPort, seq uint64, addresses ...string) *announcement {
	a := &announcement{name: name, gossip: at, id: p.id, addresses: addresses, seq: seq}
	a.signature = p.sign(a.statement())
	return a
}

func plainSays(id transport.VatID, name string, seq uint64) *announcement {
	return &announcement{name: name, gossip: loopback, id: id, seq: seq}
}

func encoded(t testing.TB, a *announcement) []byte {
	t.Helper()
	meta, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	return meta
}
