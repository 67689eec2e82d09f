package scenario

import (
	"strings"
	"testing"
	"testing/synctest"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// The musts of the scenario files have teeth: with embargoes ignored they fail.
func TestTeeth(t *testing.T) {
	tests := []struct {
		file, link string
		corrupt    func(link, []byte) (forward, reply [][]byte)
		want       string
	}{
		{"handoff", "", ignoreAcceptEmbargo, `bla ran "bar second, bar first"`},
		{"handoff_held", "bob>carol", ignoreAcceptEmbargo, `bla ran "bar second, bar third, bar first"`},
		{"embargo", "", echoDisembargoAtOnce, `local ran "creek second, creek first"`},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			s := readScript(t, "testdata/"+test.file+".txt").with(test.link)
			synctest.Test(t, func(t *testing.T) {
				st := newStage(t, nil)
				st.wire.corrupt = test.corrupt
				_, err := st.run(s)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("without embargoes: %v; want %s to fail", err, test.want)
				}
			})
		})
	}
}

// ignoreAcceptEmbargo takes the embargo out of each Accept, so that the provider does not hold anything back.
func ignoreAcceptEmbargo(_ link, frame []byte) (forward, reply [][]byte) {
	msg := must(capnp.Unmarshal(frame))
	m := must(rpc.ReadRootMessage(msg))
	if m.Which() != rpc.Message_Which_accept {
		return [][]byte{frame}, nil
	}
	check(must(m.Accept()).SetEmbargo(nil))
	return [][]byte{must(msg.Marshal())}, nil
}

// echoDisembargoAtOnce sends each Disembargo of kind senderLoopback back at once, instead of behind the calls that
// it followed, and so ends the embargo before its time.
func echoDisembargoAtOnce(_ link, frame []byte) (forward, reply [][]byte) {
	msg := must(capnp.Unmarshal(frame))
	m := must(rpc.ReadRootMessage(msg))
	if m.Which() != rpc.Message_Which_disembargo {
		return [][]byte{frame}, nil
	}
	context := must(m.Disembargo()).Context()
	if context.Which() != rpc.Disembargo_context_Which_senderLoopback {
		return [][]byte{frame}, nil
	}
	context.SetReceiverLoopback(context.SenderLoopback())
	return nil, [][]byte{must(msg.Marshal())}
}

// must and check are for what fails only by a mistake in these tests.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
