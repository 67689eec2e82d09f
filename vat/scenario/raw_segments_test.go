package scenario

import (
	"fmt"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// A message of several segments, whose parts lead to each other by far pointers, is a message like any other.
func TestSegments(t *testing.T) {
	rawTest(t, []string{"carol"}, func(st *stage) {
		r := st.dialRaw("mallory", "carol").start()
		for id, size := range []int{5000, 100_000, 1 << 20} {
			text := strings.Repeat("x", size)
			msg, seg, err := capnp.NewMessage(capnp.MultiSegment(nil))
			check(err)
			call := must(must(rpc.NewRootMessage(seg)).NewCall())
			writeCall(call, uint32(id), onImport(0), "creek", text, nil)
			if n := msg.NumSegments(); n < 2 {
				t.Fatalf("the message has %d segment", n)
			}
			check(r.conn.WriteFrames([][]byte{must(msg.Marshal())}))
			r.want(fmt.Sprintf("return %d %q", id, text)[:40]) // the line is cut, too
			r.finish(uint32(id))
		}
		r.silence()
	})
}
