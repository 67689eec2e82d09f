package peers

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// The three-party scenario with a level 1 peer in one of its roles. Nothing can be handed off then: Bob passes
// calls on, and their order is kept all the same.

// wantAtCarol is what Carol's objects were called. creek is for another object than the second bar, so only these
// two may change places.
func wantAtCarol(t *testing.T, got []string) {
	t.Helper()
	if !slices.Equal(got, []string{"bar first", "creek water", "bar second"}) &&
		!slices.Equal(got, []string{"bar first", "bar second", "creek water"}) {
		t.Errorf("Carol was called %q", got)
	}
}

const wantWater = "water of first"

// ask is Alice: she calls bar, creek on what it gives, and bar again, before it is known what these are on.
// She says when all are on their way.
func ask(ctx context.Context, bob threeparty.BobAPI, asked chan<- struct{}) (string, error) {
	foo, release := bob.Foo(ctx, nil)
	defer release()
	capBla := foo.CapBla()
	bar := func(arg string) (threeparty.CapBla_bar_Results_Future, capnp.ReleaseFunc) {
		return capBla.Bar(ctx, func(p threeparty.CapBla_bar_Params) error { return p.SetBarArg(arg) })
	}
	first, release := bar("first")
	defer release()
	creek, release := first.CapBar().Creek(ctx, func(p threeparty.CapBar_creek_Params) error {
		return p.SetCreekArg("water")
	})
	defer release()
	second, release := bar("second")
	defer release()
	close(asked)
	if _, err := second.Struct(); err != nil {
		return "", err
	}
	res, err := creek.Struct()
	if err != nil {
		return "", err
	}
	return res.CreekResult()
}

// A bob is Bob wherever he gets his CapBla from.
type bob struct {
	promise  threeparty.CapBla
	resolver capnp.Resolver[threeparty.CapBla]
	called   chan struct{} // foo was called
	once     sync.Once
}

func newBob(promise threeparty.CapBla, resolver capnp.Resolver[threeparty.CapBla]) (*bob, threeparty.BobAPI) {
	b := &bob{promise: promise, resolver: resolver, called: make(chan struct{})}
	return b, threeparty.BobAPI_ServerToClient(b)
}

func (b *bob) Foo(_ context.Context, c threeparty.BobAPI_foo) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	b.once.Do(func() { close(b.called) })
	return res.SetCapBla(b.promise.AddRef())
}

// resolve keeps his promise with what Carol's bootstrap offers.
func (b *bob) resolve(t *testing.T, carol threeparty.CarolAPI) {
	t.Helper()
	ans, release := carol.CapBla(t.Context(), nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	b.resolver.Fulfill(res.CapBla().AddRef())
	t.Cleanup(b.promise.Release)
}

// calls collects what Carol was called.
type calls chan string

func newCalls() calls { return make(chan string, 3) }

func (c calls) add(_ context.Context, what string) { c <- what }

// seen waits for all three: where Bob returns early, Alice has her results before Carol has been called.
func (c calls) seen() []string { return []string{<-c, <-c, <-c} }

// A trio is those of the three that are vats, in one memory.
type trio struct {
	memory *transport.Memory
	t      *testing.T
}

// vat starts one of them, with what serve makes as its bootstrap; nil: an object that nobody asks for.
func (x *trio) vat(name string, serve func(*vat.Vat) (capnp.Client, error)) *vat.Vat {
	network, err := x.memory.Vat(name, transport.Config{Name: name})
	if err != nil {
		x.t.Fatal(err)
	}
	v, _ := newVat(x.t, name, func(c *vat.Config) {
		c.Network, c.Directory, c.EarlyReturn = network, x.memory, threeparty.EarlyReturns()
		if serve != nil {
			c.Bootstrap.Release()
			c.Bootstrap, c.Serve = capnp.Client{}, serve
		}
	})
	return v
}

// offering serves c.
func offering[C ~capnp.ClientKind](c C) func(*vat.Vat) (capnp.Client, error) {
	return func(*vat.Vat) (capnp.Client, error) { return capnp.Client(c), nil }
}

func TestRoleAlice(t *testing.T) {
	for _, who := range []string{"go-capnp", "C++"} {
		t.Run(who, func(t *testing.T) {
			x := &trio{transport.NewMemory(), t}
			at := newCalls()
			x.vat("carol", offering(threeparty.NewCarol(at.add)))
			called := make(chan struct{})
			b, api := threeparty.NewBob(func(context.Context, string) { close(called) })
			v := x.vat("bob", offering(api))
			if err := b.Start(t.Context(), v, "plain:carol"); err != nil {
				t.Fatal(err)
			}
			l := listen(t)
			serve(t, v, l)
			if who == "C++" {
				alice := start(t, "alice", l.Addr().String())
				alice.wantLines("asked")
				<-called
				b.Resolve()
				alice.wantLines(wantWater)
				alice.wait()
			} else {
				conn, _ := goDial(t, l.Addr())
				client := threeparty.BobAPI(conn.Bootstrap(t.Context()))
				defer client.Release()
				goAlice(t, client, called, b.Resolve)
			}
			b.LetGo()
			wantAtCarol(t, at.seen())
		})
	}
}

// goAlice asks bob, has him keep his promise, and checks what comes of it.
func goAlice(t *testing.T, bob threeparty.BobAPI, called <-chan struct{}, resolve func()) {
	t.Helper()
	asked, result := make(chan struct{}), make(chan error, 1)
	var got string
	go func() {
		var err error
		got, err = ask(t.Context(), bob, asked)
		result <- err
	}()
	<-asked
	<-called
	resolve()
	if err := <-result; err != nil || got != wantWater {
		t.Errorf("got %q, %v, want %q", got, err, wantWater)
	}
}

func TestRoleBob(t *testing.T) {
	for _, who := range []string{"go-capnp", "C++"} {
		t.Run(who, func(t *testing.T) {
			x := &trio{transport.NewMemory(), t}
			at := newCalls()
			carol := x.vat("carol", offering(threeparty.NewCarol(at.add)))
			atCarol := listen(t)
			serve(t, carol, atCarol)
			alice := x.vat("alice", nil)
			var addr string
			var called <-chan struct{}
			var resolve func()
			if who == "C++" {
				p := start(t, "bob", "127.0.0.1:0", atCarol.Addr().String())
				addr = p.address()
				foo := make(chan struct{})
				go func() {
					if <-p.lines == "foo" {
						close(foo)
					}
				}()
				called = foo
				resolve = func() {
					if _, err := p.in.Write([]byte("\n")); err != nil {
						t.Error(err)
					}
				}
			} else {
				b, api := newBob(capnp.NewLocalPromise[threeparty.CapBla]())
				conn, _ := goDial(t, atCarol.Addr())
				c := threeparty.CarolAPI(conn.Bootstrap(t.Context()))
				defer c.Release()
				l := listen(t)
				serveGo(t, l, capnp.Client(api))
				addr, called = l.Addr().String(), b.called
				resolve = func() { b.resolve(t, c) }
			}
			c, err := alice.DialTwoParty(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Release()
			goAlice(t, threeparty.BobAPI(c), called, resolve)
			wantAtCarol(t, at.seen())
		})
	}
}

func TestRoleCarol(t *testing.T) {
	for _, who := range []string{"go-capnp", "C++"} {
		t.Run(who, func(t *testing.T) {
			x := &trio{transport.NewMemory(), t}
			at := newCalls()
			var addr string
			var seen func() []string
			if who == "C++" {
				p := start(t, "carol", "127.0.0.1:0")
				addr = p.address()
				seen = func() []string { return []string{p.line(), p.line(), p.line()} }
			} else {
				l := listen(t)
				serveGo(t, l, capnp.Client(threeparty.NewCarol(at.add)))
				addr, seen = l.Addr().String(), at.seen
			}
			var b *bob
			v := x.vat("bob", func(v *vat.Vat) (capnp.Client, error) {
				made, api := newBob(vat.NewPromise[threeparty.CapBla](v))
				b = made
				return capnp.Client(api), nil
			})
			c, err := v.DialTwoParty(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Release()
			alice := x.vat("alice", nil)
			api := threeparty.BobAPI(alice.Bootstrap(t.Context(), "plain:bob"))
			defer api.Release()
			goAlice(t, api, b.called, func() { b.resolve(t, threeparty.CarolAPI(c)) })
			wantAtCarol(t, seen())
		})
	}
}

// serveGo has go-capnp serve one connection with a bootstrap.
func serveGo(t *testing.T, l net.Listener, bootstrap capnp.Client) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		rw, err := l.Accept()
		if err != nil {
			bootstrap.Release()
			return
		}
		conn := rpc.NewConn(rpc.NewStreamTransport(rw), &rpc.Options{BootstrapClient: bootstrap})
		<-conn.Done()
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}
