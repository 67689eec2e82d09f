package peers

import (
	"net"
	"testing"

	"capnproto.org/go/capnp/v3"
	rpccp "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/vat/internal/peerapi"
)

// A wire is a peer that speaks message by message.
type wire struct {
	t  *testing.T
	rw net.Conn
	in *capnp.Decoder
}

func newWire(t *testing.T, addr net.Addr) *wire {
	t.Helper()
	rw, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rw.Close() })
	return &wire{t, rw, capnp.NewDecoder(rw)}
}

func (w *wire) send(build func(rpccp.Message) error) {
	w.t.Helper()
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	m, err := rpccp.NewRootMessage(seg)
	if err == nil {
		err = build(m)
	}
	if err == nil {
		err = capnp.NewEncoder(w.rw).Encode(msg)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) want(which rpccp.Message_Which) rpccp.Message {
	w.t.Helper()
	msg, err := w.in.Decode()
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := rpccp.ReadRootMessage(msg)
	if err != nil {
		w.t.Fatal(err)
	}
	if m.Which() != which {
		w.t.Fatalf("got %v, want %v", m.Which(), which)
	}
	return m
}

func (w *wire) wantUnimplemented(which rpccp.Message_Which) {
	w.t.Helper()
	m := w.want(rpccp.Message_Which_unimplemented)
	echo, err := m.Unimplemented()
	if err != nil || echo.Which() != which {
		w.t.Fatalf("unimplemented %v, %v; want %v", echo.Which(), err, which)
	}
}

// The peer has no identity, so nothing of level 3 is taken from it; the session goes on.
func TestNoThirdPartyForTheNameless(t *testing.T) {
	v, _ := newVat(t, "vat", nil)
	l := listen(t)
	serve(t, v, l)
	w := newWire(t, l.Addr())
	w.send(func(m rpccp.Message) error {
		p, err := m.NewProvide()
		p.SetQuestionId(1)
		return err
	})
	w.wantUnimplemented(rpccp.Message_Which_provide)
	w.send(func(m rpccp.Message) error {
		a, err := m.NewAccept()
		a.SetQuestionId(1)
		return err
	})
	w.wantUnimplemented(rpccp.Message_Which_accept)
	bootstrap := func(m rpccp.Message) error {
		b, err := m.NewBootstrap()
		b.SetQuestionId(1)
		return err
	}
	w.send(bootstrap)
	w.want(rpccp.Message_Which_return)
}

// A capability that a third party hosts is called by way of its vine, whatever its contact says.
func TestVineForTheNameless(t *testing.T) {
	v, _ := newVat(t, "vat", nil)
	l := listen(t)
	serve(t, v, l)
	w := newWire(t, l.Addr())
	w.send(func(m rpccp.Message) error {
		b, err := m.NewBootstrap()
		b.SetQuestionId(1)
		return err
	})
	w.want(rpccp.Message_Which_return)

	const callBack, vine = 9, 7
	w.send(func(m rpccp.Message) error {
		c, err := m.NewCall()
		if err != nil {
			return err
		}
		c.SetQuestionId(2)
		c.SetInterfaceId(peerapi.Peer_TypeID)
		c.SetMethodId(callBack)
		target, err := c.NewTarget()
		if err != nil {
			return err
		}
		target.SetImportedCap(0)
		params, err := c.NewParams()
		if err != nil {
			return err
		}
		args, err := capnp.NewStruct(params.Segment(), capnp.ObjectSize{DataSize: 8, PointerCount: 1})
		if err != nil {
			return err
		}
		if err := args.SetPtr(0, capnp.NewInterface(params.Segment(), 0).ToPtr()); err != nil {
			return err
		}
		if err := params.SetContent(args.ToPtr()); err != nil {
			return err
		}
		caps, err := params.NewCapTable(1)
		if err != nil {
			return err
		}
		third, err := caps.At(0).NewThirdPartyHosted()
		if err != nil {
			return err
		}
		third.SetVineId(vine)
		id, err := capnp.NewText(third.Segment(), "something of a network that is not ours")
		if err != nil {
			return err
		}
		return third.SetId(id.ToPtr())
	})
	call, err := w.want(rpccp.Message_Which_call).Call()
	if err != nil {
		t.Fatal(err)
	}
	target, err := call.Target()
	if err != nil || target.Which() != rpccp.MessageTarget_Which_importedCap || target.ImportedCap() != vine {
		t.Fatalf("called %v %d, %v; want the vine, %d", target.Which(), target.ImportedCap(), err, vine)
	}
	w.send(func(m rpccp.Message) error {
		r, err := m.NewReturn()
		if err != nil {
			return err
		}
		r.SetAnswerId(call.QuestionId())
		_, err = r.NewResults()
		return err
	})
	got := map[rpccp.Message_Which]bool{}
	for range 3 {
		msg, err := w.in.Decode()
		if err != nil {
			t.Fatal(err)
		}
		m, err := rpccp.ReadRootMessage(msg)
		if err != nil {
			t.Fatal(err)
		}
		got[m.Which()] = true
	}
	for _, which := range []rpccp.Message_Which{rpccp.Message_Which_return, rpccp.Message_Which_finish, rpccp.Message_Which_release} {
		if !got[which] {
			t.Errorf("no %v in the end: %v", which, got)
		}
	}
	w.rw.Close()
}
