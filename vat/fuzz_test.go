package vat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/encoding/text"
	"capnproto.org/go/capnp/v3/schemas"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A fuzzWorld is a vat with an object, and two peers that say what the bytes of a fuzz test tell them to. As long as
// that is by the rules (lawful), the vat finds no fault with it, keeps to the rules itself, and has nothing left once
// the peers have given back what they hold. Whatever they say, it does not panic, a fault has a reason, and nothing is
// left once the sessions have ended. Nor is that so where the vat is clumsy: turns fail by mistakes of its own then.
type fuzzWorld struct {
	t      *testing.T
	b      []byte
	v      *Vat
	object *probe
	local  testapi.Probe
	peers  [2]*fuzzPeer
	lawful bool
	clumsy bool

	forwards bool           // calls are forwarded, too
	awaited  []*fuzzForward // those of which a peer has told, or the other one answers
	log      strings.Builder
}

const (
	fuzzSteps  = 60  // that the peers take between them
	fuzzRounds = 100 // in which all must come to rest
)

// FuzzSession lets two peers say what the input has them say.
func FuzzSession(f *testing.F) {
	for seed := range byte(48) {
		b := make([]byte, 240)
		for i, x := 0, uint32(seed)*2654435761+1; i < len(b); i++ {
			x = x*1664525 + 1013904223
			b[i] = byte(x >> 24)
		}
		if b[0] = seed; seed >= 24 {
			b[0] += fuzzForwards
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) { newFuzzWorld(t, b).run() })
	})
}

var fuzzSchema = sync.OnceValue(func() *schemas.Registry {
	r := &schemas.Registry{}
	rpc.RegisterSchema(r)
	return r
})

// note tells what was said, for whoever looks for the fault.
func (w *fuzzWorld) note(from, to string, m rpc.Message) {
	fmt.Fprintf(&w.log, "%s to %s: ", from, to)
	e := text.NewEncoder(&w.log)
	e.UseRegistry(fuzzSchema())
	if err := e.Encode(rpc.Message_TypeID, capnp.Struct(m)); err != nil {
		fmt.Fprint(&w.log, err)
	}
	fmt.Fprintln(&w.log)
}

func newFuzzWorld(t *testing.T, b []byte) *fuzzWorld {
	w := &fuzzWorld{t: t, b: b, forwards: len(b) > 0 && b[0] >= fuzzForwards}
	var client testapi.Probe
	w.object, client = newProbe("us")
	w.local = client.AddRef()
	w.v = must(New(Config{Network: must(transport.NewMemory().Vat("us", transport.Config{})), Bootstrap: capnp.Client(client),
		ForwardCalls: w.forwards}))
	for i, name := range []string{"ann", "ben"} {
		w.peers[i] = newFuzzPeer(w.v, name)
		w.peers[i].note = func(m rpc.Message) { w.note("us", name, m) }
	}
	w.peers[0].other, w.peers[1].other = w.peers[1], w.peers[0]
	kind := w.next(8)
	w.lawful, w.clumsy = kind%4 > 0, kind == 7
	return w
}

// next is a number in [0, n), of the input.
func (w *fuzzWorld) next(n int) int {
	if len(w.b) == 0 || n <= 1 {
		return 0
	}
	x := int(w.b[0])
	w.b = w.b[1:]
	return x % n
}

// pick is one of the keys for which ok holds.
func pick[E any](w *fuzzWorld, from map[uint32]E, ok func(E) bool) (uint32, E, bool) {
	var may []uint32
	for _, id := range slices.Sorted(maps.Keys(from)) {
		if ok(from[id]) {
			may = append(may, id)
		}
	}
	if len(may) == 0 {
		var none E
		return 0, none, false
	}
	id := may[w.next(len(may))]
	return id, from[id], true
}

func (w *fuzzWorld) run() {
	for step := 0; step < fuzzSteps && len(w.b) > 0; step++ {
		p := w.peers[w.next(2)]
		if !p.over {
			w.act(p)
			w.settle()
		}
	}
	if w.lawful && !w.clumsy {
		w.forwards = false // what is open is answered by who was asked
		w.windUp()
	}
	for _, p := range w.peers {
		w.end(p, disconnected("the end of the test"))
	}
	w.settle()
	w.dropLocal()
	w.settle()
	w.v.provisions.mu.Lock()
	provisions := len(w.v.provisions.live)
	w.v.provisions.mu.Unlock()
	if promises := w.v.promises.Load(); provisions+int(promises) > 0 {
		w.t.Errorf("%d provisions and %d promises are left", provisions, promises)
	}
	check(w.v.Close())
	w.local.Release()
	synctest.Wait()
	select {
	case <-w.object.down:
	default:
		w.t.Error("the object is still held")
	}
	time.Sleep(2 * time.Second) // protoactor-go notes letters to dead actors in a goroutine that lives for a second
	if w.t.Failed() {
		w.t.Logf("lawful %v:\n%s", w.lawful, &w.log)
	}
}

// settle runs turns until all is quiet.
func (w *fuzzWorld) settle() {
	for range fuzzRounds {
		synctest.Wait()
		quiet := true
		for _, p := range w.peers {
			if !p.over {
				quiet = w.turn(p, func() error { return nil }) && quiet
			}
		}
		if quiet {
			return
		}
	}
	w.t.Errorf("no rest after %d rounds", fuzzRounds)
}

// turn runs one, and those that follow from it, and says whether nothing was left to do.
func (w *fuzzWorld) turn(p *fuzzPeer, f func() error) (quiet bool) {
	quiet = true
	err := w.attempt(p, f)
	var m any
	for err == nil {
		if p.s.waiting = append(p.s.waiting, p.s.queue.Take()...); len(p.s.waiting) == 0 {
			break
		}
		quiet = false
		m, p.s.waiting = p.s.waiting[0], p.s.waiting[1:]
		err = w.attempt(p, func() error { return p.s.handle(m) })
	}
	if len(p.wrong) > 0 && w.lawful {
		w.t.Errorf("the vat has said: %q", p.wrong)
		p.wrong = nil
	}
	if err == nil {
		return quiet
	}
	var fault *protocolFault
	if w.clumsy && errors.As(err, new(*orderLost)) {
		err = errMistake
	}
	if err != errMistake && (!errors.As(err, &fault) || fault.reason == "") {
		w.t.Errorf("a turn ended with %v", err)
	}
	if err != errMistake && w.lawful {
		w.t.Errorf("%s has kept to the rules: %v", p.name, err)
	}
	fmt.Fprintf(&w.log, "%s is cut off: %v\n", p.name, err)
	w.end(p, err)
	(&sessionActor{s: p.s}).abandon(m)
	return false
}

var errMistake = errors.New("a mistake of ours")

// attempt is one turn, as the session's actor runs it.
func (w *fuzzWorld) attempt(p *fuzzPeer, f func() error) error {
	err := f()
	out, done := p.s.out, 0
	p.s.out = nil
	mistake := -1
	if w.clumsy && w.next(12) == 11 {
		mistake = w.next(len(out) + 1)
	}
	for ; err == nil && done < len(out); done++ {
		if done == mistake {
			err = errMistake
			break
		}
		out[done].apply(p.s)
	}
	if err == nil && mistake == len(out) {
		err = errMistake
	}
	if err != nil {
		p.s.discard(out[done:], err)
	}
	return err
}

// end ends the session as its actor would.
func (w *fuzzWorld) end(p *fuzzPeer, why error) {
	if p.over {
		return
	}
	p.over = true
	p.s.end.Store(&why)
	close(p.s.done)
	w.v.forget(p.s)
	(&sessionActor{s: p.s}).letGo(why)
}

// says has a peer say a message.
func (w *fuzzWorld) says(p *fuzzPeer, m rpc.Message) {
	if p.over {
		return
	}
	frame := appendFrame(nil, m.Message())
	if !w.lawful && w.next(8) == 0 {
		for range 1 + w.next(3) {
			if at := 8 + w.next(256); at < len(frame) {
				frame[at] ^= 1 << w.next(8)
			}
		}
	}
	w.note(p.name, "us", m)
	msg, err := capnp.Unmarshal(frame)
	check(err)
	w.turn(p, func() error {
		err := (&sessionActor{s: p.s}).frame(msg)
		if f := (*protocolFault)(nil); err != nil && !errors.As(err, &f) && !w.lawful {
			err = fault("an Abort, by chance: %v", err)
		}
		return err
	})
}

// dropLocal has the object hold nothing, and let go whoever waits.
func (w *fuzzWorld) dropLocal() {
	for range 100 {
		w.object.let <- struct{}{}
	}
	check(keepOn(context.Background(), w.local, testapi.Probe{}))
}

// windUp has the peers answer what they are asked and give back what they hold, until nothing is left.
func (w *fuzzWorld) windUp() {
	w.dropLocal()
	for round := range fuzzRounds {
		w.settle()
		if round%10 == 9 {
			time.Sleep(2 * DefaultLimits().Handoff) // what waits for a handoff that will not come has a deadline
			w.settle()
		}
		done := true
		for _, p := range w.peers {
			done = done && p.s.unused() && len(p.asked)+len(p.ours)+len(p.held)+len(p.given)+len(p.echo) == 0
			w.giveBack(p)
		}
		if done {
			return
		}
	}
	for _, p := range w.peers {
		w.t.Errorf("%s: %d questions, %d answers, %d imports, %d exports, %d embargoes; asked %d, ours %d, held %d, given %d, echoes %d",
			p.name, p.s.questions.len(), p.s.answers.len(), p.s.imports.len(), p.s.exports.len(), p.s.embargoes.len(),
			len(p.asked), len(p.ours), len(p.held), len(p.given), len(p.echo))
	}
}

func (w *fuzzWorld) giveBack(p *fuzzPeer) {
	for _, l := range p.loops {
		w.says(p, disembargoFrame(l.target, func(c rpc.Disembargo_context) { c.SetReceiverLoopback(l.id) }))
	}
	p.loops = nil
	for _, id := range slices.Sorted(maps.Keys(p.ours)) {
		if q := p.ours[id]; q != nil && !q.returned {
			w.returns(p, id, q, 0)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.given)) {
		if g := p.given[id]; g != nil && g.promise && !g.resolved {
			g.resolved = true
			w.says(p, frameOf(func(m rpc.Message) {
				r := must(m.NewResolve())
				r.SetPromiseId(id)
				check(setException(must(r.NewException()), failed("the end")))
			}))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.asked)) {
		if q := p.asked[id]; q != nil && !q.finished {
			w.finish(p, id, q, false)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.held)) {
		if h := p.held[id]; h != nil {
			w.release(p, id, h.refs)
		}
	}
}

func (w *fuzzWorld) finish(p *fuzzPeer, id uint32, q *fuzzAsked, releaseCaps bool) {
	q.finished = true
	if q.returned {
		delete(p.asked, id)
	}
	if releaseCaps {
		for _, e := range q.results {
			p.letGo(e, 1)
		}
	}
	w.says(p, frameOf(func(m rpc.Message) {
		f := must(m.NewFinish())
		f.SetQuestionId(id)
		f.SetReleaseResultCaps(releaseCaps)
	}))
}

func (p *fuzzPeer) letGo(id, count uint32) {
	if h := p.held[id]; h != nil {
		if h.refs -= min(count, h.refs); h.refs == 0 {
			delete(p.held, id)
		}
	}
}

func (w *fuzzWorld) release(p *fuzzPeer, id, count uint32) {
	p.letGo(id, count)
	w.says(p, msgRelease(id, count))
}
