package vat

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A provider is a vat with a key, and what some others, with keys too, tell it, each on a session of its own. Bob has its
// bootstrap capability, and provides that to alice.
type provider struct {
	t     *testing.T
	v     *Vat
	log   *bytes.Buffer
	ids   map[string]*transport.Identity
	peers map[string]*session
	wires map[string]*listWire
	asked uint32
}

var guests = []string{"bob", "alice", "dave", "erin", "mallory"}

func newProvider(t *testing.T, ids map[string]*transport.Identity) *provider {
	t.Helper()
	network, err := transport.ListenTLS("", ids["carol"], transport.Config{})
	check(err)
	p := &provider{t: t, log: &bytes.Buffer{}, ids: ids, peers: map[string]*session{}, wires: map[string]*listWire{}}
	p.v, err = New(Config{
		Network:   network,
		Bootstrap: capnp.NewClient(server.New(nil, nil, nil)),
		Logger:    slog.New(slog.NewTextHandler(p.log, nil)),
	})
	check(err)
	for _, name := range guests {
		s := newSession(p.v, ids[name].ID(), plainHost{})
		s.queue = actors.NewQueue(byHand{})
		p.wires[name] = &listWire{}
		s.wire = p.wires[name]
		s.hello.Store(&transport.Hello{ID: ids[name].ID(), Features: transport.AllFeatures})
		p.peers[name] = s
	}
	p.tell("bob", bootstrapFrame(0))
	p.tell("bob", frameOf(func(m rpc.Message) {
		x := must(m.NewProvide())
		x.SetQuestionId(1)
		wireTarget{id: 0}.encode(must(x.NewTarget()))
		await := must(transport.NewToAwait(x.Segment()))
		check(ids["alice"].ID().Encode(must(await.NewRecipient())))
		check(await.SetNonce(make([]byte, 16)))
		check(x.SetRecipient(await.ToPtr()))
	}))
	return p
}

func newIdentities() map[string]*transport.Identity {
	ids := map[string]*transport.Identity{}
	for _, name := range append([]string{"carol"}, guests...) {
		ids[name] = must(transport.NewIdentity())
	}
	return ids
}

func (p *provider) end() {
	for _, name := range guests {
		p.peers[name].endAnswers(errCanceled)
		p.peers[name].endExports()
	}
	check(p.v.Close())
}

// tell has a peer say m, and returns what it hears.
func (p *provider) tell(by string, m rpc.Message) string {
	p.t.Helper()
	if err := p.peers[by].turn(m); err != nil {
		return "fault: " + err.Error()
	}
	settleAll(p.t, p.peers[by])
	sent := p.wires[by].sent
	p.wires[by].sent = nil
	return strings.Join(sent, ", ")
}

// accept has a peer ask for what, by the Accept of a vat that has it.
func (p *provider) accept(by string, what transport.Introduced) string {
	p.t.Helper()
	p.asked++
	id := p.asked + 100
	heard := p.tell(by, frameOf(func(m rpc.Message) {
		a := must(m.NewAccept())
		a.SetQuestionId(id)
		check(a.SetProvision(completion(a.Segment(), what).ToPtr()))
	}))
	_, heard, _ = strings.Cut(heard, fmt.Sprintf("return %d ", id)) // bob may hear that his Provide was picked up
	return heard
}

// introduced is what alice was told.
func (p *provider) introduced() transport.Introduced {
	return transport.Introduced{Host: p.v.ID(), Introducer: p.ids["bob"].ID(), Recipient: p.ids["alice"].ID()}
}

// forward is c as one passes it on to another.
func (p *provider) forward(c transport.Introduced, by, to string) transport.Introduced {
	return must(c.Forward(p.ids[to].ID(), p.ids[by].Sign))
}

// Whoever may not accept is refused at once, logged with both vats, and counted; whoever may, can, before and after.
func TestRefusals(t *testing.T) {
	ids := newIdentities()
	for _, test := range []struct {
		name string
		by   string
		what func(p *provider) transport.Introduced
		ok   bool
	}{
		{"as introduced", "alice", (*provider).introduced, true},
		{"forwarded once", "dave", func(p *provider) transport.Introduced { return p.forward(p.introduced(), "alice", "dave") }, true},
		{"forwarded twice", "erin", func(p *provider) transport.Introduced {
			return p.forward(p.forward(p.introduced(), "alice", "dave"), "dave", "erin")
		}, true},
		{"round to the recipient", "alice", func(p *provider) transport.Introduced {
			return p.forward(p.forward(p.introduced(), "alice", "dave"), "dave", "alice")
		}, true},
		{"another's", "mallory", func(p *provider) transport.Introduced {
			c := p.introduced()
			c.Recipient = p.ids["mallory"].ID()
			return c
		}, false},
		{"forwarded to another", "mallory", func(p *provider) transport.Introduced { return p.forward(p.introduced(), "alice", "dave") }, false},
		{"cut short", "erin", func(p *provider) transport.Introduced {
			c := p.forward(p.forward(p.introduced(), "alice", "dave"), "dave", "erin")
			c.Forwards = c.Forwards[1:]
			return c
		}, false},
		{"signed by oneself", "mallory", func(p *provider) transport.Introduced { return p.forward(p.introduced(), "mallory", "mallory") }, false},
		{"of one who never had it", "erin", func(p *provider) transport.Introduced {
			c := p.introduced()
			c.Recipient = p.ids["mallory"].ID()
			return p.forward(c, "mallory", "erin")
		}, false},
		{"of another introduction", "dave", func(p *provider) transport.Introduced {
			c := p.introduced()
			c.Nonce[0] = 1
			c = p.forward(c, "alice", "dave")
			c.Nonce[0] = 0
			return c
		}, false},
		{"of another introducer", "dave", func(p *provider) transport.Introduced {
			c := p.introduced()
			c.Introducer = p.ids["mallory"].ID()
			c = p.forward(c, "alice", "dave")
			c.Introducer = p.ids["bob"].ID()
			return c
		}, false},
		{"of another host", "dave", func(p *provider) transport.Introduced {
			c := p.introduced()
			c.Host = p.ids["mallory"].ID()
			c = p.forward(c, "alice", "dave")
			c.Host = p.v.ID()
			return c
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProvider(t, ids)
			defer p.end()
			heard := p.accept(test.by, test.what(p))
			refused := p.v.Exceeded()["refused Accepts"]
			switch log := p.log.String(); {
			case test.ok && (heard != "results senderHosted" || refused != 0):
				t.Errorf("heard %q, %d refused", heard, refused)
			case !test.ok && (heard != "exception" || refused != 1):
				t.Errorf("heard %q, %d refused", heard, refused)
			case !test.ok && !(strings.Contains(log, string(ids[test.by].ID())) && strings.Contains(log, string(ids["bob"].ID()))):
				t.Errorf("logged %s", log)
			}
			for range 2 {
				if heard := p.accept("alice", p.introduced()); heard != "results senderHosted" {
					t.Errorf("then alice heard %q", heard)
				}
			}
		})
	}
}

// Once the Provide is finished nobody gets anything by it, however it came to him; and its nonce is not good again.
func TestForwardedTooLate(t *testing.T) {
	p := newProvider(t, newIdentities())
	defer p.end()
	c := p.forward(p.introduced(), "alice", "dave")
	if heard := p.accept("dave", c); heard != "results senderHosted" {
		t.Fatalf("heard %q", heard)
	}
	p.tell("bob", msgFinish(1))
	for range 2 {
		if heard := p.accept("dave", c); heard != "exception" {
			t.Errorf("after the Finish dave heard %q", heard)
		}
	}
	if heard := p.accept("alice", p.introduced()); heard != "exception" {
		t.Errorf("after the Finish alice heard %q", heard)
	}
}

// FuzzForwarded asks for the provision with what somebody has put together: it is handed out if, and only if, the
// introducer and the nonce are right, each forward was signed by who had it, and who asks is the last of them.
func FuzzForwarded(f *testing.F) {
	ids := newIdentities()
	f.Add([]byte{1, 0, 1, 0})
	f.Add([]byte{2, 0, 1, 0, 2, 1, 0})
	f.Add([]byte{3, 0, 1, 0, 2, 1, 0, 3, 2, 0})
	f.Add([]byte{4, 0, 1, 0, 4, 4, 0})
	f.Add([]byte{2, 0, 1, 0, 2, 1, 9})
	f.Add([]byte{2, 4, 1, 1, 2, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		next := func(n int) int {
			if len(b) == 0 {
				return 0
			}
			x := int(b[0])
			b = b[1:]
			return x % n
		}
		name := func() string { return guests[next(len(guests))] }
		p := newProvider(t, ids)
		defer p.end()
		by, introducer, recipient, nonce := name(), name(), name(), next(2)
		c := transport.Introduced{Host: p.v.ID(), Introducer: ids[introducer].ID(), Recipient: ids[recipient].ID()}
		c.Nonce[3] = byte(nonce)
		genuine, holder := true, recipient
		for len(b) > 0 && len(c.Forwards) < transport.MaxForwards {
			to, signer, bad := name(), name(), next(64*8)
			c = p.forward(c, signer, to)
			if bad != 0 {
				c.Forwards[len(c.Forwards)-1].Signature[bad/8] ^= 1 << (bad % 8)
			}
			genuine = genuine && signer == holder && bad == 0
			holder = to
		}
		if len(c.Forwards) == 0 {
			holder = by // nobody else is named
			recipient = by
		}
		want := "exception"
		switch {
		case !genuine || holder != by:
		case introducer != "bob" || nonce != 0:
			want = "" // it waits for what may still come
		case recipient == "alice":
			want = "results senderHosted"
		}
		if heard := p.accept(by, c); heard != want {
			t.Errorf("%s asks by %s for what %s was given, forwards %d (genuine %v): heard %q, want %q",
				by, introducer, recipient, len(c.Forwards), genuine, heard, want)
		}
		if heard := p.accept("alice", p.introduced()); heard != "results senderHosted" {
			t.Errorf("then alice heard %q", heard)
		}
	})
}

type addressBook map[transport.VatID][]string

func (b addressBook) Addresses(id transport.VatID) []string { return b[id] }

// The same with real keys and connections: what alice got from bob of carol's goes to dave, who alone connects to her.
func TestForwardedOverTLS(t *testing.T) {
	book, vats := addressBook{}, map[string]*Vat{}
	networks, probes, locals := map[string]transport.Network{}, map[string]*probe{}, map[string]testapi.Probe{}
	ids := newIdentities()
	names := []string{"alice", "bob", "carol", "dave"}
	for _, name := range names {
		networks[name] = must(transport.ListenTLS("127.0.0.1:0", ids[name], transport.Config{Name: name}))
		book[ids[name].ID()] = networks[name].Addrs()
	}
	for _, name := range names {
		object, client := newProbe(name)
		probes[name], locals[name] = object, client
		vats[name] = must(New(Config{Network: networks[name], Directory: book, Bootstrap: capnp.Client(client.AddRef())}))
		defer vats[name].Close()
		defer client.Release()
	}
	boot := func(at, of string) testapi.Probe {
		return testapi.Probe(vats[at].Bootstrap(t.Context(), ids[of].ID()))
	}
	carol, bob, dave := boot("bob", "carol"), boot("alice", "bob"), boot("alice", "dave")
	defer carol.Release()
	defer bob.Release()
	defer dave.Release()
	for _, err := range []error{carol.Resolve(t.Context()), keepOn(t.Context(), locals["bob"], carol)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	kept, release := bob.Kept(t.Context(), nil)
	res, err := kept.Struct()
	if err != nil {
		t.Fatal(err)
	}
	if err := keepOn(t.Context(), dave, res.Probe()); err != nil {
		t.Fatal(err)
	}
	release()
	got := probes["dave"].keeps()
	defer got.Release()
	if err := noteOn(t.Context(), got, 1, 1); err != nil {
		t.Fatal(err)
	}
	probes["carol"].wantOrder(t, 1, 1)
	with := func(at, peer string) bool {
		vats[at].mu.Lock()
		defer vats[at].mu.Unlock()
		return vats[at].sessions[ids[peer].ID()] != nil
	}
	if with("alice", "carol") || !with("dave", "carol") {
		t.Errorf("with carol: alice %v, dave %v", with("alice", "carol"), with("dave", "carol"))
	}
	for _, name := range names {
		if err := keepOn(t.Context(), locals[name], testapi.Probe{}); err != nil {
			t.Fatal(err)
		}
	}
}
