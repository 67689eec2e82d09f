package vat

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/internal/wirepage"
	"github.com/vatwork/vatwork/transport"
)

var updatePage = flag.Bool("update", false, "rewrite the examples of transport/WIRE.md")

// byteWire notes frames as they go out.
type byteWire struct{ sent [][]byte }

func (w *byteWire) send(m *capnp.Message) bool {
	w.sent = append(w.sent, appendFrame(nil, m))
	return false
}
func (w *byteWire) abort(m rpc.Message) { w.send(m.Message()) }
func (w *byteWire) node() Node          { return Node{} }

// pageIdentity is that of a vat of the page: its private key is 32 times the same byte.
func pageIdentity(t *testing.T, seed byte) *transport.Identity {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	path := filepath.Join(t.TempDir(), "key")
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
	check(os.WriteFile(path, text, 0o600))
	return must(transport.LoadIdentity(path))
}

// A page is the worked example of transport/WIRE.md as it is told: four vats, and what each of them says to another.
type page struct {
	t    *testing.T
	ids  map[string]*transport.Identity
	vats map[string]*Vat
	open map[[2]string]*session
	made map[string][]byte
}

func newPage(t *testing.T) *page {
	t.Helper()
	p := &page{t: t, ids: map[string]*transport.Identity{}, vats: map[string]*Vat{}, open: map[[2]string]*session{},
		made: map[string][]byte{}}
	for name, seed := range map[string]byte{"alice": 0x0a, "bob": 0x0b, "carol": 0x0c, "dave": 0x0d} {
		p.ids[name] = pageIdentity(t, seed)
		_, object := newProbe(name)
		p.vats[name] = must(New(Config{Network: must(transport.ListenTLS("", p.ids[name], transport.Config{})), Bootstrap: capnp.Client(object)}))
	}
	return p
}

func (p *page) end() {
	for _, s := range p.open {
		s.endAnswers(errCanceled)
		s.endExports()
	}
	for _, v := range p.vats {
		check(v.Close())
	}
}

// session is that of one vat with another.
func (p *page) session(at, with string) *session {
	if s := p.open[[2]string{at, with}]; s != nil {
		return s
	}
	s := newSession(p.vats[at], p.ids[with].ID(), plainHost{})
	s.queue, s.wire = actors.NewQueue(byHand{}), &byteWire{}
	s.hello.Store(&transport.Hello{ID: s.peer, Features: transport.AllFeatures})
	p.open[[2]string{at, with}] = s
	return s
}

// says notes under a name of the page the one message that a vat has written to another since the last time.
func (p *page) says(at, with, name string) {
	p.t.Helper()
	s := p.session(at, with)
	settleAll(p.t, s)
	w := s.wire.(*byteWire)
	if len(w.sent) != 1 {
		p.t.Fatalf("%s has written %d messages to %s, want 1: %s", at, len(w.sent), with, name)
	}
	p.made[name] = w.sent[0]
	w.sent = nil
}

// hears has a vat read what was noted under a name.
func (p *page) hears(at, with, name string) {
	p.t.Helper()
	msg, err := capnp.Unmarshal(p.made[name])
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	if err := p.session(at, with).onFrame(msg); err != nil {
		p.t.Fatalf("%s hears %s: %v", at, name, err)
	}
}

// hand resolves the promise 0 of a vat to what another hosts, by in. The vine is export 1.
func (p *page) hand(at, with string, in *introduction) {
	s := p.session(at, with)
	s.exports.addNew(&export{})
	m := newMessage()
	r := must(m.NewResolve())
	r.SetPromiseId(0)
	nowhere := pin{road: brokenRoad{errCanceled}}
	s.describeThirdParty(must(r.NewCap()), nowhere.road, nowhere, in)
	s.send(m)
}

// What the page shows is what the code writes, and carol answers it as the page has it.
func TestWirePage(t *testing.T) {
	p := newPage(t)
	defer p.end()
	embargo := make([]byte, 16)
	what := transport.Introduced{Host: p.ids["carol"].ID(), Introducer: p.ids["bob"].ID(), Recipient: p.ids["alice"].ID()}
	for i := range embargo {
		what.Nonce[i], embargo[i] = byte(i), byte(0xe0+i)
	}

	bc := p.session("bob", "carol")
	root := must(bc.bootstrap())
	defer root.Release()
	p.says("bob", "carol", "bootstrap bob>carol")
	p.hears("carol", "bob", "bootstrap bob>carol")
	p.says("carol", "bob", "return carol>bob 0")

	provide := newQuestionRef(bc, 2)
	bc.sendProvide(&askProvide{q: provide, target: heldImport0(bc), recipient: what.Recipient, nonce: nonce(what.Nonce)})
	p.says("bob", "carol", "provide bob>carol")
	in := &introduction{Introduced: what, mayForward: true, recipient: p.session("bob", "alice"), provide: provide}
	p.hand("bob", "alice", in)
	p.says("bob", "alice", "resolve bob>alice")

	forwarded := must(what.Forward(p.ids["dave"].ID(), p.ids["alice"].Sign))
	vine := pin{road: brokenRoad{errCanceled}}
	p.hand("alice", "dave", &introduction{Introduced: forwarded, mayForward: true, recipient: p.session("alice", "dave"), vine: &vine})
	p.says("alice", "dave", "resolve alice>dave")

	dc := p.session("dave", "carol")
	dc.sendAccept(&askAccept{q: newAcceptRef(dc, vine), what: forwarded, embargo: embargo})
	p.says("dave", "carol", "accept dave>carol")
	p.session("dave", "alice").sendDisembargo(&askDisembargo{target: wireTarget{id: 0}, accept: embargo})
	p.says("dave", "alice", "disembargo dave>alice")
	p.session("alice", "bob").passDisembargo(wireTarget{id: 1}, &disembargo{accept: embargo})
	p.says("alice", "bob", "disembargo alice>bob")
	bc.passDisembargo(wireTarget{}, &disembargo{accept: embargo, provide: provide})
	p.says("bob", "carol", "disembargo bob>carol")

	p.hears("carol", "bob", "provide bob>carol")
	p.hears("carol", "dave", "accept dave>carol")
	settleAll(t, p.session("carol", "dave"))
	p.says("carol", "bob", "return carol>bob 1")
	p.hears("carol", "bob", "disembargo bob>carol")
	settleAll(t, p.session("carol", "bob"))
	p.says("carol", "dave", "return carol>dave")
	p.session("dave", "carol").send(msgFinish(0))
	p.says("dave", "carol", "finish dave>carol")
	p.session("dave", "alice").send(msgRelease(1, 1))
	p.says("dave", "alice", "release dave>alice")

	if err := wirepage.Compare("../transport/WIRE.md", p.made, *updatePage); err != nil {
		t.Error(err)
	}
}

// heldImport0 is the import 0 of a session, held once.
func heldImport0(s *session) *importRef {
	i := &importRef{s: s}
	i.hold()
	i.hold() // beyond the test: there is no entry to release
	return i
}
