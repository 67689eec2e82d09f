package vat

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// Both vats dial at once, with links held and freed so that either connection is first: one session is left, and
// no call is lost or doubled.
func TestBothDial(t *testing.T) {
	for i := range loops(40) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			for n, link := range []*transport.Link{c.link("alice", "bob"), c.link("bob", "alice")} {
				if i>>n&1 == 1 {
					link.Hold()
				}
			}
			var calls sync.WaitGroup
			for _, x := range [][2]string{{"alice", "bob"}, {"bob", "alice"}} {
				calls.Go(func() {
					p := testapi.Probe(c.byName[x[0]].Bootstrap(context.Background(), id(x[1])))
					defer p.Release()
					var all sync.WaitGroup
					for n := range uint32(20) {
						ans, release := p.Note(context.Background(), noting(1, n+1))
						all.Go(func() {
							defer release()
							if _, err := ans.Struct(); err != nil {
								t.Errorf("call %d from %s: %v", n+1, x[0], err)
							}
						})
					}
					all.Wait()
				})
			}
			for _, link := range []*transport.Link{c.link("bob", "alice"), c.link("alice", "bob")} {
				link.Free()
			}
			done := make(chan struct{})
			go func() { calls.Wait(); close(done) }()
			arrives(t, "the end of all calls", done)
			c.objects["alice"].wantOrder(t, 1, 20)
			c.objects["bob"].wantOrder(t, 1, 20)
			for _, v := range c.vats {
				if n := len(v.liveSessions()); n != 1 {
					t.Errorf("%s has %d sessions", v.ID(), n)
				}
			}
		})
	}
}

// Of two connections that were made at once the one that is refused ends cleanly, though something was sent on it: else
// its vat would take the session for broken.
func TestBothDialTCP(t *testing.T) {
	listen := func(name string) transport.Network {
		return must(transport.ListenPlain("127.0.0.1:0", name, transport.Config{}))
	}
	for range loops(8) {
		network, bob := listen("alice"), listen("bob")
		alice := must(New(Config{Network: network, Logger: slog.New(slog.DiscardHandler)}))
		asked := alice.Bootstrap(t.Context(), bob.LocalID(), bob.Addrs()...)
		first := must(bob.Accept())
		second := must(bob.Dial(t.Context(), alice.ID(), network.Addrs()))
		check(second.WriteFrames([][]byte{must(msgBootstrap(0).Message().Marshal())}))
		if _, err := second.ReadFrame(); err != io.EOF {
			t.Errorf("%v, want %v", err, io.EOF)
		}
		asked.Release()
		for _, c := range []io.Closer{second, first, alice, bob} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	c := newCluster(t, "alice")
	for name, x := range map[string]struct {
		id   transport.VatID
		text string
	}{
		"nobody there":   {id("nobody"), "cannot reach"},
		"no address":     {transport.VatID("ed25519:" + strings.Repeat("00", 32)), ""},
		"the vat itself": {id("alice"), "itself"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testapi.Probe(c.byName["alice"].Bootstrap(t.Context(), x.id))
			defer p.Release()
			err := noteOn(t.Context(), p, 1, 1)
			if err == nil || !contains(err.Error(), x.text) {
				t.Fatalf("got %v, want an error with %q", err, x.text)
			}
			if x.text == "cannot reach" && exc.TypeOf(err) != exc.Disconnected {
				t.Errorf("%v is not of type disconnected", err)
			}
			// What comes later is told the same, and so is who asks again.
			if err := noteOn(t.Context(), p, 1, 1); err == nil {
				t.Errorf("a call on a broken bootstrap succeeded")
			}
			again := testapi.Probe(c.byName["alice"].Bootstrap(t.Context(), x.id))
			defer again.Release()
			wantSomeError(t, noteOn(t.Context(), again, 1, 1))
		})
	}
}

func TestNoBootstrap(t *testing.T) {
	c := newCluster(t, "alice")
	c.start("bob", func(cfg *Config, _ *transport.Config) {
		cfg.Bootstrap.Release()
		cfg.Bootstrap = capnp.Client{}
	})
	bob := c.bootstrap("alice", "bob")
	wantError(t, noteOn(t.Context(), bob, 1, 1), exc.Failed, "bootstrap")
}

// A session that ends, one way or another, fails what is under way both ways with disconnected; a new one serves
// whoever asks again.
func TestSessionEnds(t *testing.T) {
	for name, end := range map[string]func(c *cluster){
		"told to":       func(c *cluster) { c.byName["alice"].EndSession(id("bob"), "declared failed") },
		"told to there": func(c *cluster) { c.byName["bob"].EndSession(id("alice"), "declared failed") },
		"link cut":      func(c *cluster) { c.link("alice", "bob").Cut() },
		"peer faulty": func(c *cluster) {
			c.session("bob", "alice").inspect(func(s *session) { s.send(msgRelease(4711, 1)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice", "bob")
			there, back := c.ready("alice", "bob"), c.ready("bob", "alice")
			calls := map[string]testapi.Probe{"there": there, "back": back}
			ends := map[string]func() error{}
			for dir, p := range calls {
				ans, release := p.Wait(t.Context(), nil)
				defer release()
				note, releaseNote := ans.Probe().Note(t.Context(), noting(1, 1))
				defer releaseNote()
				ends[dir] = func() error { _, err := ans.Struct(); return err }
				ends[dir+", pipelined"] = func() error { _, err := note.Struct(); return err }
			}
			arrives(t, "the call", c.objects["bob"].entered)
			arrives(t, "the call", c.objects["alice"].entered)
			end(c)
			for dir, call := range ends {
				err := call()
				if err == nil || exc.TypeOf(err) != exc.Disconnected {
					t.Errorf("%s: %v, want disconnected", dir, err)
				}
			}
			for _, object := range c.objects {
				if err := arrives(t, "the end of the object's call", object.left); err == nil {
					t.Errorf("the call at the object was not canceled")
				}
			}
			wantError(t, noteOn(t.Context(), there, 1, 1), exc.Disconnected, "")
			if err := noteOn(t.Context(), c.ready("alice", "bob"), 2, 1); err != nil {
				t.Errorf("a call on a new session: %v", err)
			}
			if err := noteOn(t.Context(), c.ready("bob", "alice"), 2, 1); err != nil {
				t.Errorf("a call on a new session, back: %v", err)
			}
		})
	}
}

// A vat that closes ends what is under way both ways, and its peer goes on.
func TestCloseWhileCallsRun(t *testing.T) {
	for range loops(10) {
		c := newCluster(t, "alice", "bob", "carol")
		there, back := c.ready("alice", "bob"), c.ready("bob", "alice")
		carol := c.ready("alice", "carol")
		out, release := there.Wait(t.Context(), nil)
		defer release()
		in, release := back.Wait(t.Context(), nil)
		defer release()
		arrives(t, "the call", c.objects["bob"].entered)
		arrives(t, "the call", c.objects["alice"].entered)
		if err := c.byName["bob"].Close(); err != nil {
			t.Fatal(err)
		}
		_, err := out.Struct()
		wantError(t, err, exc.Disconnected, "")
		_, err = in.Struct()
		wantError(t, err, exc.Disconnected, "")
		wantSomeError(t, noteOn(t.Context(), back, 1, 1)) // on a vat that is closed
		if err := noteOn(t.Context(), carol, 1, 1); err != nil {
			t.Errorf("a call to another vat: %v", err)
		}
		p, resolver := NewPromise[testapi.Probe](c.byName["bob"])
		wantSomeError(t, noteOn(t.Context(), p, 1, 1))
		resolver.Fulfill(carol.AddRef())
		p.Release()
		if err := c.byName["bob"].Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		c.shut()
	}
}

// A vat that starts anew is another run: the old session ends, and references to its objects with it.
func TestRestartedPeer(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	old := c.ready("alice", "bob")
	if err := c.byName["bob"].Close(); err != nil {
		t.Fatal(err)
	}
	c.locals["bob"].Release()
	c.start("bob", nil)
	wantError(t, noteOn(t.Context(), old, 1, 1), exc.Disconnected, "")
	if err := noteOn(t.Context(), c.ready("alice", "bob"), 1, 1); err != nil {
		t.Error(err)
	}
}

// A message that we know not is sent back, and nothing else happens.
func TestUnimplementedMessage(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	c.session("alice", "bob").inspect(func(s *session) {
		m := newMessage()
		must(m.NewJoin()).SetQuestionId(3)
		s.send(m)
	})
	eventually(t, saying("it comes back"), func() bool {
		return c.count(message{"alice", false, "bob", rpc.Message_Which_unimplemented}) == 1
	})
	if err := noteOn(t.Context(), bob, 1, 1); err != nil {
		t.Error(err)
	}
}
