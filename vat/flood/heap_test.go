package flood

import (
	"io"
	"log/slog"
	"runtime"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// deluges are floods of a vat with its default limits, each well beyond what it is to take, with how many MiB may be
// held on its account at the height of it: generous, for what is measured is the whole process. Without the limit it
// is about, each would hold several times as much.
var deluges = map[string]struct {
	most  int
	flood func(*flooded)
}{
	"calls that never return": {256, func(f *flooded) {
		f.send(24_000, func(i uint32) []byte { return call(i, object, methodWait, nil) })
	}},
	"calls with big parameters": {128, func(f *flooded) {
		data := make([]byte, 1<<20)
		f.send(400, func(i uint32) []byte { return call(i, object, methodWait, data) })
	}},
	"capability tables of imports": {256, func(f *flooded) {
		f.send(100, func(i uint32) []byte {
			return call(i, object, methodWait, nil, manyCaps(4000, func(j int) func(rpc.CapDescriptor) {
				return senderHosted(4000*i + uint32(j))
			})...)
		})
	}},
	"capability tables of exports": {128, func(f *flooded) {
		own := manyCaps(4000, func(int) func(rpc.CapDescriptor) { return receiverHosted })
		f.send(300, func(i uint32) []byte { return call(i, object, methodWait, nil, own...) })
	}},
	"capability tables of answers": {64, func(f *flooded) {
		f.send(2000, func(i uint32) []byte { return call(i, object, methodWait, nil) })
		f.send(2000, func(i uint32) []byte {
			return call(2000+i, object, methodWait, nil, manyCaps(50, func(j int) func(rpc.CapDescriptor) {
				return receiverAnswer(i, uint16(j))
			})...)
		})
	}},
	"Bootstraps": {256, func(f *flooded) { f.send(70_000, bootstrap) }},
	"Provides":   {256, func(f *flooded) { f.send(24_000, func(i uint32) []byte { return provide(i, "alice") }) }},
	"Accepts":    {128, func(f *flooded) { f.send(24_000, func(i uint32) []byte { return accept(i, "alice") }) }},
	"pipelined calls": {128, func(f *flooded) {
		f.send(1, func(uint32) []byte { return call(1<<20, object, methodWait, nil) })
		f.send(24_000, func(i uint32) []byte { return call(i, answer(1<<20), methodWait, nil) })
	}},
	"Disembargoes": {64, func(f *flooded) {
		f.send(1, func(uint32) []byte { return keepFor(1<<20, "alice", 1) })
		f.send(100_000, func(i uint32) []byte {
			return disembargo(answer(1<<20), func(c rpc.Disembargo_context) { check(c.SetAccept(nonce(i))) })
		})
	}},
}

// However it is flooded, a vat keeps what one peer makes it hold within bounds, serves others meanwhile, and has it
// all back when the peer is gone.
func TestHeapUnderFlood(t *testing.T) {
	skipHeap(t)
	for name, x := range deluges {
		t.Run(name, func(t *testing.T) {
			f := newFlooded(t)
			before := inUse()
			x.flood(f)
			f.mallory.send(message(func(m rpc.Message) { must(m.NewJoin()) }))
			f.mallory.awaitCount("unimplemented", 1) // or the Abort: then all has been dealt with
			f.other.served()
			held := (inUse() - before) >> 20
			t.Logf("%d MiB were sent, %d MiB are held; %v; %+v", f.sent>>20, held, f.carol.Exceeded(), f.carol.Tables())
			if held > x.most {
				t.Errorf("%d MiB are held, want at most %d", held, x.most)
			}
			if len(f.carol.Exceeded()) == 0 {
				t.Error("no limit was exceeded")
			}
			f.end()
			if rest := (inUse() - before) >> 20; rest > 8 {
				t.Errorf("%d MiB are held after the peer has gone", rest)
			}
		})
	}
}

// A peer that asks and does not read is hung up on once Limits.MaxQueuedBytes wait for it: a session never stops
// reading, so nothing else bounds what it answers.
func TestHeapForAPeerThatDoesNotRead(t *testing.T) {
	skipHeap(t)
	f := newFlooded(t)
	before := inUse()
	network := must(transport.ListenPlain("", "deaf", transport.Config{}))
	defer network.Close()
	conn := must(network.Dial(t.Context(), f.carol.ID(), f.addrs))
	defer conn.Close()
	// What is unimplemented is sent back as it came, and nothing is kept of it.
	echoed := message(func(m rpc.Message) {
		join := must(m.NewJoin())
		check(join.SetKeyPart(must(capnp.NewData(join.Segment(), make([]byte, 1<<16))).ToPtr()))
	})
	most := 0
	for i, err := 1, error(nil); err == nil; i++ {
		if err = conn.WriteFrames([][]byte{echoed}); i%512 == 0 {
			most = max(most, inUse()-before)
		}
	}
	t.Logf("%d MiB were held at most", most>>20)
	if most>>20 > 384 {
		t.Errorf("%d MiB were held, want at most 384", most>>20)
	}
	for f.carol.Exceeded()["MaxQueuedBytes"] == 0 {
		f.other.served() // until the session is through with the end of the connection
	}
	f.end()
}

// skipHeap: a deluge takes its time, with the race detector minutes, and that keeps memory of its own.
func skipHeap(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("floods with the default limits are for runs without -race and -short")
	}
}

// A flooded is a vat of default limits, over TCP: what is under way there is not in the heap.
type flooded struct {
	t       *testing.T
	target  *target
	carol   *vat.Vat
	mallory *peer
	other   *peer
	addrs   []string
	sent    int
}

func newFlooded(t *testing.T) *flooded {
	f := &flooded{t: t, target: &target{}}
	listen := func(addr, name string) transport.Network {
		return must(transport.ListenPlain(addr, name, transport.Config{Name: name}))
	}
	network := listen("127.0.0.1:0", "carol")
	f.carol = must(vat.New(vat.Config{
		Network:   network,
		Bootstrap: capnp.Client(testapi.Probe_ServerToClient(f.target)),
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	}))
	f.target.vat, f.addrs = f.carol, network.Addrs()
	for name, p := range map[string]**peer{"mallory": &f.mallory, "other": &f.other} {
		n := listen("", name)
		t.Cleanup(func() { n.Close() })
		*p = dial(t, n, name, f.carol.ID(), f.addrs).start()
	}
	return f
}

// send sends n messages, a batch at a time.
func (f *flooded) send(n int, make func(i uint32) []byte) {
	const batch = 64
	var messages [][]byte
	for i := range n {
		m := make(uint32(i))
		f.sent += len(m)
		if messages = append(messages, m); len(messages) == batch || i == n-1 {
			f.mallory.send(messages...)
			messages = messages[:0]
		}
	}
}

// end has the peer hang up, and closes the vat once it is through with that.
func (f *flooded) end() {
	f.mallory.hangUp()
	f.target.letGo()
	f.other.served()
	f.other.hangUp()
	if err := f.carol.Close(); err != nil {
		f.t.Error(err)
	}
}

// inUse is what is in use once all garbage is gone, stacks included: bytes.
func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
