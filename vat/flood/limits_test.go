package flood

import (
	"context"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// trials has at least one trial for each field of vat.Limits, under its name, and what follows a space says which.
var trials = map[string]trial{
	"Questions": {limits: vat.Limits{Questions: 4}, flood: func(a *arena) {
		p := a.given(senderHosted(7))
		defer p.Release()
		a.callUntilRefused(p, 4, "Questions")
		a.mallory.want("call", 4)
	}},
	"Questions while dialing": {limits: vat.Limits{Questions: 4}, network: unreachable, flood: func(a *arena) {
		p := testapi.Probe(a.carol.Bootstrap(a.t.Context(), "plain:nobody", "mem!nobody"))
		defer p.Release()
		a.callUntilRefused(p, 3, "Questions") // one is the Bootstrap
	}},
	"Questions of answers that are announced": {limits: vat.Limits{Questions: 4, Parked: 1}, flood: func(a *arena) {
		a.repeat(9, func(i uint32) []byte { return answered(i, "other") }) // and are never returned
		a.mallory.wantAbort("Questions")
	}},
	"Answers": {limits: vat.Limits{Answers: 4}, flood: func(a *arena) {
		a.repeat(5, func(i uint32) []byte { return call(i, object, methodWait, nil) })
		a.mallory.wantAbort("Answers")
	}},
	"Answers of results not finished": {limits: vat.Limits{Answers: 4}, flood: func(a *arena) {
		a.repeat(5, func(i uint32) []byte { return call(i, object, methodNote, nil) })
		a.mallory.wantAbort("Answers")
	}},
	"Calls": {limits: vat.Limits{Calls: 4}, flood: func(a *arena) {
		a.repeat(6, func(i uint32) []byte { return call(i, object, methodWait, nil) })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("Calls")
		a.repeat(6, finish)
		synctest.Wait()
		a.mallory.served() // there is room again
	}},
	"CallBytes": {limits: vat.Limits{CallBytes: 1 << 16}, flood: func(a *arena) {
		big := make([]byte, 1<<15-1<<10)
		a.repeat(4, func(i uint32) []byte { return call(i, object, methodWait, big) })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("CallBytes")
		a.repeat(4, finish)
		synctest.Wait()
		a.mallory.served() // there is room again
	}},
	"CallBytes of capabilities": {limits: vat.Limits{CallBytes: 1 << 16}, flood: func(a *arena) {
		own := manyCaps(20, func(int) func(rpc.CapDescriptor) { return receiverHosted })
		a.repeat(5, func(i uint32) []byte { return call(i, object, methodWait, nil, own...) })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("CallBytes")
	}},
	"CallBytes of capabilities without parameters": {limits: vat.Limits{CallBytes: 1 << 16}, flood: func(a *arena) {
		own := manyCaps(20, func(int) func(rpc.CapDescriptor) { return receiverHosted })
		a.repeat(5, func(i uint32) []byte {
			return message(func(m rpc.Message) {
				c := must(m.NewCall())
				writeCall(c, i, object, methodWait, nil, own)
				check(must(c.Params()).SetContent(capnp.Ptr{}))
			})
		})
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("CallBytes")
	}},
	"ResultBytes": {limits: vat.Limits{ResultBytes: 3 << 10}, flood: func(a *arena) {
		a.repeat(4, func(i uint32) []byte { return call(i, object, methodSelf, nil) }) // a capability each: to be finished
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("ResultBytes")
		a.repeat(4, finish)
		synctest.Wait()
		a.mallory.served() // there is room again
	}},
	"Pipelined": {limits: vat.Limits{Pipelined: 4}, flood: func(a *arena) {
		a.mallory.send(call(50, object, methodWait, nil))
		a.repeat(6, func(i uint32) []byte { return call(i, answer(50), methodNote, nil) })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("Pipelined")
	}},
	"Pipelined on a promise, by a peer": {limits: vat.Limits{Pipelined: 4}, flood: func(a *arena) {
		a.mallory.send(call(50, object, methodKept, nil))
		a.mallory.want("return results", 2) // import 1 is the promise
		a.repeat(6, func(i uint32) []byte { return call(i, imported(1), methodNote, nil) })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("Pipelined")
	}},
	"Pipelined by Disembargoes": {limits: vat.Limits{Pipelined: 4}, flood: func(a *arena) {
		a.mallory.send(keepFor(50, "alice", 1))
		a.repeat(5, func(i uint32) []byte {
			return disembargo(answer(50), func(c rpc.Disembargo_context) { check(c.SetAccept([]byte{byte(i)})) })
		})
		a.mallory.wantAbort("Pipelined")
	}},
	"Pipelined on a call, by local code": {limits: vat.Limits{Pipelined: 4}, flood: func(a *arena) {
		p := must(vat.Spawn[testapi.Probe](a.carol, testapi.Probe_Methods, func() testapi.Probe_Server { return &target{} }))
		defer p.Release()
		ctx, cancel := context.WithCancel(a.t.Context())
		defer cancel()
		ans, release := p.Wait(ctx, nil)
		defer release()
		a.callUntilRefused(ans.Probe(), 4, "Pipelined")
	}},
	"Pipelined on a promise, by local code": {limits: vat.Limits{Pipelined: 4}, flood: func(a *arena) {
		p, resolver := vat.NewPromise[testapi.Probe](a.carol)
		defer p.Release()
		defer resolver.Reject(context.Canceled)
		a.callUntilRefused(p, 4, "Pipelined")
	}},
	"Exports": {limits: vat.Limits{Exports: 3}, flood: func(a *arena) {
		a.repeat(6, func(i uint32) []byte { return call(i, object, methodSelf, nil) })
		a.mallory.want("return exception overloaded", 4)
		a.mallory.wantOverloaded("Exports")
	}},
	"Exports of a Resolve": {limits: vat.Limits{Exports: 2}, flood: func(a *arena) {
		a.mallory.send(call(50, object, methodKept, nil))
		a.mallory.want("return results", 2)
		synctest.Wait()
		a.target.resolve(testapi.Probe_ServerToClient(&target{}))
		a.mallory.want("resolve", 1)
		a.mallory.wantReason("resolve", "Limits.Exports allows 2")
	}},
	"Imports": {limits: vat.Limits{Imports: 4}, flood: func(a *arena) {
		a.repeat(5, func(i uint32) []byte { return call(i, object, methodKeep, nil, senderHosted(i)) })
		a.mallory.wantAbort("Imports")
	}},
	"Imports at once": {limits: vat.Limits{Imports: 4}, flood: func(a *arena) {
		hosted := func(i int) func(rpc.CapDescriptor) { return senderHosted(uint32(i)) }
		a.mallory.send(call(1, object, methodNote, nil, manyCaps(5, hosted)...))
		a.mallory.wantAbort("Imports")
	}},
	"Capabilities": {limits: vat.Limits{Capabilities: 4}, flood: func(a *arena) {
		own := func(int) func(rpc.CapDescriptor) { return receiverHosted }
		a.mallory.send(call(1, object, methodNote, nil, manyCaps(5, own)...))
		a.mallory.wantAbort("Capabilities")
	}},
	"EmbargoBytes": {limits: vat.Limits{EmbargoBytes: 1 << 12}, flood: func(a *arena) {
		p := a.given(senderPromise(7))
		defer p.Release()
		_, release := p.Note(a.t.Context(), nil)
		defer release()
		a.mallory.want("call", 1)
		a.mallory.send(resolve(7, receiverHosted)) // and never does the Disembargo come back
		a.mallory.want("disembargo", 1)
		ctx, cancel := context.WithCancel(a.t.Context())
		defer cancel()
		var refused error
		for refused == nil {
			ans, release := p.Echo(ctx, func(x testapi.Probe_echo_Params) error { return x.SetData(make([]byte, 1<<10)) })
			defer release()
			synctest.Wait()
			refused = now(ans.Done(), func() error { _, err := ans.Struct(); return err })
		}
		wantExc(a.t, refused, exc.Overloaded, "Limits.EmbargoBytes allows 4096")
	}},
	"QueueBytes": {limits: vat.Limits{QueueBytes: 1 << 12}, flood: func(a *arena) {
		p := a.given(senderHosted(7))
		defer p.Release()
		a.stuck.hold()
		ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
		defer cancel()
		begin, n := time.Now(), 0
		for ; time.Since(begin) == 0; n++ {
			_, release := p.Echo(ctx, func(x testapi.Probe_echo_Params) error { return x.SetData(make([]byte, 1<<10)) })
			defer release()
		}
		if n < 2 || n > 8 || time.Since(begin) != time.Minute {
			a.t.Errorf("call %d waited, for %v", n, time.Since(begin))
		}
	}},
	"MessageBytes": {limits: vat.Limits{MessageBytes: 1 << 14}, flood: func(a *arena) {
		p := a.given(senderHosted(7))
		defer p.Release()
		ans, release := p.Echo(a.t.Context(), func(x testapi.Probe_echo_Params) error { return x.SetData(make([]byte, 1<<14)) })
		defer release()
		_, err := ans.Struct()
		wantExc(a.t, err, exc.Failed, "Limits.MessageBytes")
		a.mallory.send(call(1, object, methodEcho, make([]byte, 1<<14)))
		a.mallory.wantReason("return exception failed", "Limits.MessageBytes")
	}},
	"Sessions": {limits: vat.Limits{Sessions: 2}, flood: func(a *arena) {
		// Those of mallory and of other. The next are told so, or hung up on.
		for i := range 20 {
			p := a.connect("crowd" + string(rune('a'+i)))
			defer p.hangUp()
			if i == 0 {
				p.wantAbort("Sessions")
			}
		}
		boot := testapi.Probe(a.carol.Bootstrap(a.t.Context(), "plain:another", "mem!another"))
		defer boot.Release()
		a.callUntilRefused(boot, 0, "Sessions")
	}},
	"Provisions": {limits: vat.Limits{Provisions: 4}, flood: func(a *arena) {
		a.repeat(6, func(i uint32) []byte { return provide(i, "alice") })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("Provisions")
	}},
	"Provisions of kept results": {limits: vat.Limits{Provisions: 4}, flood: func(a *arena) {
		a.mallory.send(keepFor(50, "alice", 1, 2, 3), keepFor(51, "alice", 4, 5, 6))
		a.mallory.want("return resultsSentElsewhere", 2)
		a.repeat(2, func(i uint32) []byte { return provide(60+i, "alice") })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("Provisions")
	}},
	"Parked": {limits: vat.Limits{Parked: 4}, flood: func(a *arena) {
		a.repeat(6, func(i uint32) []byte { return accept(i, "bob") })
		a.mallory.want("return exception overloaded", 2)
		a.mallory.wantOverloaded("Parked")
	}},
	"Parked answers": {limits: vat.Limits{Parked: 4}, flood: func(a *arena) {
		a.repeat(6, func(i uint32) []byte { return answered(i, "other") })
		a.mallory.want("finish", 2)
	}},
	"TwoParty": {limits: vat.Limits{TwoParty: 1}, flood: func(a *arena) {
		l := newPipes()
		served := make(chan error)
		go func() { served <- a.carol.ServeTwoParty(l) }()
		connect := func() *peer { return newPeer(a.t, "guest", transport.TwoParty(l.dial(), transport.Config{})) }
		first := connect().start()
		second := connect()
		second.wantAbort("TwoParty")
		first.served()
		first.hangUp()
		synctest.Wait()
		third := connect().start()
		third.hangUp()
		l.Close()
		if err := <-served; err != nil {
			a.t.Errorf("ServeTwoParty: %v", err)
		}
	}},
	"Idle": {limits: vat.Limits{Idle: time.Minute, TwoParty: 1}, flood: func(a *arena) {
		l := newPipes()
		served := make(chan error)
		go func() { served <- a.carol.ServeTwoParty(l) }()
		connect := func() *peer { return newPeer(a.t, "guest", transport.TwoParty(l.dial(), transport.Config{})) }
		for range 2 { // each is silent, and does not keep the place
			time.Sleep(time.Minute)
			silent := connect()
			<-silent.done
			silent.hangUp()
			synctest.Wait()
		}
		holds := connect().start()
		time.Sleep(time.Hour)
		holds.served()
		holds.hangUp()
		l.Close()
		if err := <-served; err != nil {
			a.t.Errorf("ServeTwoParty: %v", err)
		}
	}},
	"Dial": {limits: vat.Limits{Dial: time.Minute}, network: unreachable, flood: func(a *arena) {
		boot := a.carol.Bootstrap(a.t.Context(), "plain:nobody", "mem!nobody")
		defer boot.Release()
		begin := time.Now()
		ans, release := testapi.Probe(boot).Note(a.t.Context(), nil)
		defer release()
		_, err := ans.Struct()
		wantExc(a.t, err, exc.Disconnected, "not done within 1m0s: Limits.Dial")
		if took := time.Since(begin); took != time.Minute {
			a.t.Errorf("it took %v", took)
		}
	}},
	"Unreached": {limits: vat.Limits{Dial: time.Second}, network: unreachable, flood: func(a *arena) {
		for i, after := range []time.Duration{time.Second, 0} { // the first is dialed in vain
			p := a.given(resultAt("nobody", "mem!nobody"))
			begin := time.Now()
			_, release := p.Note(a.t.Context(), nil)
			a.mallory.want("call", i+1) // by the vine
			if took := time.Since(begin); took != after {
				a.t.Errorf("it took %v, want %v", took, after)
			}
			release()
			p.Release()
			a.target.letGo()
		}
	}},
	"Probe": {limits: vat.Limits{Probe: time.Minute}, flood: func(a *arena) {
		synctest.Wait() // until what mallory has said is heard: any of it would be a sign of life
		a.carol.Suspect("plain:mallory", "said to be dead")
		a.mallory.want("bootstrap", 1) // which mallory does not answer
		<-a.mallory.done
	}},
	"Awaited": {limits: vat.Limits{Awaited: time.Minute}, flood: func(a *arena) {
		begin := time.Now()
		a.mallory.send(answered(1, "other"))
		a.mallory.want("finish", 1)
		if took := time.Since(begin); took != time.Minute {
			a.t.Errorf("it took %v", took)
		}
	}},
	"Handoff": {limits: vat.Limits{Handoff: time.Minute}, flood: func(a *arena) {
		begin := time.Now()
		a.mallory.send(accept(1, "bob"))
		a.mallory.wantReason("return exception disconnected", "Limits.Handoff")
		if took := time.Since(begin); took != time.Minute {
			a.t.Errorf("it took %v", took)
		}
	}},
	"Results": {limits: vat.Limits{Results: time.Second}, flood: func(a *arena) {
		p := a.given(resultAt("mallory", ""))
		defer p.Release()
		ans, release := p.Note(a.t.Context(), nil) // with an Accept, which mallory does not answer
		defer release()
		_, err := ans.Struct()
		wantExc(a.t, err, exc.Disconnected, "the call has not ended within 1s: Limits.Results")
	}},
	"Kept": {limits: vat.Limits{Kept: time.Minute}, flood: func(a *arena) {
		// Results that are null, which is what a path leads to that is not there.
		a.mallory.send(keep(methodNote, 50, "mallory", 1))
		a.mallory.want("return resultsSentElsewhere", 1)
		time.Sleep(time.Minute + time.Second) // not at the very moment
		a.mallory.send(accept(1, "mallory"))
		a.mallory.wantReason("return exception failed", "Limits.Kept")
	}},
}

// wireTrials are for the fields of transport.Limits that strike within a session. Those of handshakes and of closing are
// the transport's own business, and tested there.
var wireTrials = map[string]trial{
	"MaxMessageBytes": {wire: transport.Limits{MaxMessageBytes: 1 << 14}, flood: func(a *arena) {
		a.mallory.send(call(1, object, methodNote, make([]byte, 1<<14)))
		a.mallory.wantAbort("MaxMessageBytes")
	}},
	"MaxSegments": {wire: transport.Limits{MaxSegments: 4}, flood: func(a *arena) {
		a.mallory.send([]byte{4, 0, 0, 0, 1, 0, 0, 0})
		a.mallory.wantAbort("MaxSegments")
	}},
	"MaxQueuedBytes": {wire: transport.Limits{MaxQueuedBytes: 1 << 16}, flood: func(a *arena) {
		a.stuck.hold()
		a.repeat(20, func(i uint32) []byte { return call(i, object, methodEcho, make([]byte, 1<<12)) })
		<-a.mallory.done
	}},
	"TraverseBytes": {wire: transport.Limits{TraverseBytes: 64 << 10, MaxDepth: 1 << 30}, uncounted: true, flood: func(a *arena) {
		a.mallory.send(circle(1))
		a.mallory.wantReason("return exception failed", "read traversal limit reached")
	}},
	"MaxDepth": {wire: transport.Limits{MaxDepth: 8}, uncounted: true, flood: func(a *arena) {
		a.mallory.send(circle(1))
		a.mallory.wantReason("return exception failed", "depth limit")
	}},
}

// transportsOwn are the limits of connections that package transport tests by itself.
var transportsOwn = []string{"HandshakeTimeout", "MaxHandshakes", "CloseGrace", "KeepAlive"}

func TestEveryLimit(t *testing.T) {
	for name, x := range trials {
		t.Run(name, func(t *testing.T) { fight(t, firstWord(name), x) })
	}
	for name, x := range wireTrials {
		t.Run(name, func(t *testing.T) { fight(t, name, x) })
	}
}

// No limit is without a trial, and no trial without its limit.
func TestEveryLimitHasATrial(t *testing.T) {
	tried := map[string]bool{"Probe": true} // of news from outside, not of peers: see package vat, TestSuspect…
	for name := range trials {
		tried[firstWord(name)] = true
	}
	compareFields(t, vat.Limits{}, tried)

	tried = map[string]bool{}
	for name := range wireTrials {
		tried[name] = true
	}
	for _, name := range transportsOwn {
		tried[name] = true
	}
	compareFields(t, transport.Limits{}, tried)
}

func compareFields(t *testing.T, limits any, tried map[string]bool) {
	t.Helper()
	typ := reflect.TypeOf(limits)
	for i := range typ.NumField() {
		name := typ.Field(i).Name
		if !tried[name] {
			t.Errorf("%v.%s is never exceeded", typ, name)
		}
		delete(tried, name)
	}
	for name := range tried {
		t.Errorf("%v has no field %s", typ, name)
	}
}

func firstWord(s string) string {
	first, _, _ := strings.Cut(s, " ")
	return first
}

// repeat has mallory send n messages.
func (a *arena) repeat(n int, make func(i uint32) []byte) {
	messages := [][]byte{}
	for i := range n {
		messages = append(messages, make(uint32(i)))
	}
	a.mallory.send(messages...)
}

// callUntilRefused makes n calls on p, which wait, and one more, which is refused for a limit.
func (a *arena) callUntilRefused(p testapi.Probe, n int, limit string) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	defer synctest.Wait() // for what is canceled
	defer cancel()
	for range n {
		ans, release := p.Note(ctx, nil)
		defer release()
		synctest.Wait()
		if err := now(ans.Done(), func() error { _, err := ans.Struct(); return err }); err != nil {
			a.t.Errorf("a call within the limit: %v", err)
		}
	}
	ans, release := p.Note(ctx, nil)
	defer release()
	_, err := ans.Struct()
	wantExc(a.t, err, exc.Overloaded, "Limits."+limit+" allows")
}

// now is the error of what is done, nil for what is not.
func now(done <-chan struct{}, err func() error) error {
	select {
	case <-done:
		return err()
	default:
		return nil
	}
}

func wantExc(t testing.TB, err error, typ exc.Type, text string) {
	t.Helper()
	if err == nil || exc.TypeOf(err) != typ || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %v with %q", err, typ, text)
	}
}

// circle calls many with a parameter that contains itself.
func circle(id uint32) []byte {
	return message(func(m rpc.Message) {
		c := must(m.NewCall())
		writeCall(c, id, object, methodMany, nil, nil)
		args := must(must(c.Params()).Content()).Struct()
		nested := must(capnp.NewStruct(c.Segment(), capnp.ObjectSize{PointerCount: 3}))
		check(nested.SetPtr(2, nested.ToPtr()))
		check(args.SetPtr(1, nested.ToPtr()))
	})
}

// unreachable is a network that reaches nobody, however long it tries.
func unreachable(n transport.Network) transport.Network { return deaf{n} }

type deaf struct{ transport.Network }

func (deaf) Dial(ctx context.Context, _ transport.VatID, _ []string) (transport.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// pipes is a listener for pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (l *pipes) dial() net.Conn {
	here, there := net.Pipe()
	l.conns <- there
	return here
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }
