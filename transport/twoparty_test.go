package transport

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
)

// socketPair is both ends of a connection over network.
func socketPair(t *testing.T, network, addr string) (dialed, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err = net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed, accepted
}

// The first byte is of a frame, both ways; an end of one side leaves the other open.
func TestTwoPartyFrames(t *testing.T) {
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			rw, peer := socketPair(t, network, addr)
			c := TwoParty(rw, Config{})
			defer c.Close()
			write(t, c, 1, 2)
			for n := uint64(1); n <= 2; n++ {
				msg, err := capnp.NewDecoder(peer).Decode()
				if err != nil || number(msg) != n {
					t.Fatalf("frame %d: %v", n, err)
				}
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("after CloseWrite the peer reads %d bytes, %v", n, err)
			}
			if _, err := peer.Write(frame(3)); err != nil {
				t.Fatal(err)
			}
			want(t, c, 3)
			peer.Close()
			if _, err := c.ReadFrame(); err != io.EOF {
				t.Fatalf("ReadFrame: %v, want io.EOF", err)
			}
		})
	}
}

// The id of such a peer is that of no vat, and never given twice.
func TestTwoPartyIDs(t *testing.T) {
	seen := map[VatID]bool{}
	for range 3 {
		rw, _ := socketPair(t, "tcp", "127.0.0.1:0")
		c := TwoParty(rw, Config{})
		peer := c.Peer()
		id := peer.ID
		switch {
		case seen[id]:
			t.Errorf("%s was given twice", id)
		case !id.IsTwoParty() || !id.IsPlain():
			t.Errorf("%s is not known for what it is", id)
		case !strings.HasSuffix(string(id), "@"+rw.RemoteAddr().String()):
			t.Errorf("%s does not say where it is: %s", id, rw.RemoteAddr())
		case peer.Features != 0:
			t.Errorf("%s has features %b", id, peer.Features)
		}
		if _, err := ParseVatID(string(id)); err == nil {
			t.Errorf("a vat can be named %s", id)
		}
		_, seg := capnp.NewSingleSegmentMessage(nil)
		if err := id.Encode(must(NewRootVatId(seg))); err == nil {
			t.Errorf("%s can be named to others", id)
		}
		seen[id] = true
	}
	for _, id := range []VatID{"plain:two-party-7", "plain:bob", ""} {
		if id.IsTwoParty() {
			t.Errorf("%q passes for a two-party peer", id)
		}
	}
}

type namedAddr string

func (namedAddr) Network() string  { return "unix" }
func (a namedAddr) String() string { return string(a) }

func TestTwoPartyIDIsPrintable(t *testing.T) {
	id := twoPartyID(namedAddr("/tmp/a b\n" + strings.Repeat("x", 200)))
	if name := strings.TrimPrefix(string(id), plainPrefix); len(name) > MaxNameBytes || strings.ContainsAny(name, " \n") {
		t.Errorf("%q", id)
	}
}

func TestTwoPartyLimitsAndWrap(t *testing.T) {
	rw, peer := socketPair(t, "tcp", "127.0.0.1:0")
	v := NewValve()
	c := TwoParty(rw, Config{Limits: Limits{MaxMessageBytes: 1 << 10}, Wrap: v.Wrap})
	defer c.Close()
	v.Hold()
	write(t, c, 1)
	if v.Held() != 1 {
		t.Fatal("Wrap was not applied")
	}
	if _, err := peer.Write(numbered(1, 2<<10)); err != nil {
		t.Fatal(err)
	}
	var bad *FrameError
	if _, err := c.ReadFrame(); !errors.As(err, &bad) {
		t.Fatalf("a frame beyond the limit: %v", err)
	}
}

// A medium without half-closing works: the end comes with Close.
func TestTwoPartyOverPipe(t *testing.T) {
	rw, peer := net.Pipe()
	c := TwoParty(rw, Config{})
	sent := make(chan error, 1)
	go func() {
		_, err := peer.Write(frame(1))
		sent <- err
	}()
	want(t, c, 1)
	if err := errors.Join(<-sent, c.CloseWrite(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("after Close the peer reads %v", err)
	}
}
