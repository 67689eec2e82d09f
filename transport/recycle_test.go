package transport

import (
	"bytes"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
)

// Messages take their memory from those that were given back, and nothing of one shows in the next.
func TestRecycle(t *testing.T) {
	var stream bytes.Buffer
	texts := []string{"a longer text that goes first", "short", "", "another"}
	for _, size := range []int{smallBody, 3 * bodyChunk, 2 * bodyChunk} {
		texts = append(texts, strings.Repeat("x", size), "short again")
	}
	for _, text := range texts {
		msg, seg := capnp.NewSingleSegmentMessage(nil)
		root, err := capnp.NewRootStruct(seg, capnp.ObjectSize{PointerCount: 1})
		if err == nil {
			err = root.SetText(0, text)
		}
		b, err2 := msg.Marshal()
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		stream.Write(b)
	}
	r := newFrameReader(&stream, DefaultLimits())
	for _, want := range texts {
		msg, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		root, err := msg.Root()
		if err != nil {
			t.Fatal(err)
		}
		p, err := root.Struct().Ptr(0)
		if got := p.Text(); err != nil || got != want {
			t.Errorf("read %.50q, %v, want %.50q", got, err, want)
		}
		if !Recycle(msg) {
			t.Errorf("a message with %d bytes was not taken back", len(want))
		}
	}
	other, _ := capnp.NewSingleSegmentMessage(nil)
	if Recycle(other) {
		t.Error("a message that was never read was taken")
	}
}
