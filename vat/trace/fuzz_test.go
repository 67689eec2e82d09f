package trace

import (
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// FuzzDecode: a tap sees what a peer wrote. Whatever that is, it gives a line that can be written.
func FuzzDecode(f *testing.F) {
	for _, kind := range kinds {
		msg := newMessage(f)
		kind.build(builder{f, msg})
		data, err := msg.Message().Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	d := newTestDecoder()
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := capnp.Unmarshal(data)
		if err != nil {
			return
		}
		msg, err := rpc.ReadRootMessage(in)
		if err != nil {
			return
		}
		line, _ := d.Decode(msg)
		if line.Msg == "" || oneLine(line.text()) == "" {
			t.Errorf("nothing to say of %+v", line)
		}
	})
}
