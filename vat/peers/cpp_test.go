package peers

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/peerapi"
)

// cppCases are those of its driver: see cpp/driver.h.
var cppCases = []string{
	"echo", "order", "exceptions", "unimplemented", "pipelining", "promise of the peer's", "promise that breaks",
	"embargo of a promise", "embargo of results", "cancellation", "streaming", "call back",
	"own capability comes back", "tail call", "the same twice",
}

// The C++ library calls us.
func TestCppCalls(t *testing.T) {
	program(t)
	for _, name := range cppCases {
		t.Run(name, func(t *testing.T) {
			v, _ := newVat(t, "vat", nil)
			l := listen(t)
			serve(t, v, l)
			start(t, "call", l.Addr().String(), name).wait()
		})
	}
}

// We call the C++ library.
func TestCallCpp(t *testing.T) {
	program(t)
	for _, c := range slices.Concat(cases, notByGo, notOnGo) {
		t.Run(c.name, func(t *testing.T) {
			addr := start(t, "serve", "127.0.0.1:0").address()
			v, _ := newVat(t, "vat", nil)
			p, err := v.DialTwoParty(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Release)
			c.run(t, peerapi.Peer(p))
		})
	}
}

// A tail call to a capability of the caller's own does not carry its results there and back.
func TestCppTailCallStaysHere(t *testing.T) {
	v, o := newVat(t, "vat", nil)
	c, err := v.DialTwoParty(t.Context(), "tcp", start(t, "serve", "127.0.0.1:0").address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Release)
	caseForward(t, peerapi.Peer(c))
	for _, want := range []string{`"resultsTo":"yourself"`, `"which":"takeFromOtherQuestion"`, `"which":"resultsSentElsewhere"`} {
		if !strings.Contains(o.said.String(), want) {
			t.Errorf("no message with %s in %s", want, o.said)
		}
	}
}

func TestCppOverUnixSocket(t *testing.T) {
	program(t)
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := newVat(t, "vat", nil)
	serve(t, v, l)
	start(t, "call", "unix:"+path, "echo").wait()
}

// A vat that closes under a call of theirs.
func TestCppSeesDisconnect(t *testing.T) {
	program(t)
	v, _ := newVat(t, "vat", func(c *vat.Config) {})
	l := listen(t)
	serve(t, v, l)
	p := start(t, "call", l.Addr().String(), "disconnect")
	p.wantLines("hanging")
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	p.wait()
}

// Their process is killed under a call of ours; another session goes on.
func TestCppIsKilled(t *testing.T) {
	program(t)
	v, _ := newVat(t, "vat", nil)
	dialed := func(p *process) peerapi.Peer {
		c, err := v.DialTwoParty(t.Context(), "tcp", p.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Release)
		return peerapi.Peer(c)
	}
	one, two := start(t, "serve", "127.0.0.1:0"), start(t, "serve", "127.0.0.1:0")
	dies, stays := dialed(one), dialed(two)
	o, to := local(t)
	ans, release := dies.Hang(t.Context(), giving[peerapi.Peer_hang_Params](to))
	defer release()
	awaitNotes(t, o, 1)
	one.kill()
	_, err := ans.Struct()
	wantError(t, err, exc.Disconnected, "")
	wantError(t, note(t.Context(), dies, 1), exc.Disconnected, "")
	if err := note(t.Context(), stays, 1); err != nil {
		t.Fatal(err)
	}
}

// arith is the service that go-capnp's documentation teaches with, as one writes it for go-capnp: it knows
// nothing of vats.
type arith struct{}

func (arith) Multiply(_ context.Context, c peerapi.Arith_multiply) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	res.SetProduct(c.Args().A() * c.Args().B())
	return nil
}

func (arith) Divide(_ context.Context, c peerapi.Arith_divide) error {
	if c.Args().Denom() == 0 {
		return errors.New("divide by zero")
	}
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	res.SetQuo(c.Args().Num() / c.Args().Denom())
	res.SetRem(c.Args().Num() % c.Args().Denom())
	return nil
}

func TestCppCallsArith(t *testing.T) {
	program(t)
	v, o := newVat(t, "vat", func(c *vat.Config) {
		c.Bootstrap.Release()
		c.Bootstrap = capnp.Client(peerapi.Arith_ServerToClient(arith{}))
	})
	<-o.down // what newVat offers otherwise
	l := listen(t)
	serve(t, v, l)
	start(t, "call", l.Addr().String(), "arith").wait()
}
