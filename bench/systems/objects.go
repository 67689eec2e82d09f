package systems

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/bench/wire"
	"github.com/vatwork/vatwork/vat"
)

// echo is the object that is called.
type echo struct{}

func (echo) Echo(_ context.Context, call wire.Echo_echo) error {
	data, err := call.Args().Data()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetData(data)
}

func (echo) Push(_ context.Context, call wire.Echo_push) error {
	_, err := call.Args().Data()
	return err
}

// host is Carol.
type host struct {
	echo
	bla   wire.Bla
	fresh func() (wire.Echo, error)
}

// newHost makes a host that makes fresh echoes as fresh does.
func newHost(fresh func() (wire.Echo, error)) capnp.Client {
	return capnp.Client(wire.Host_ServerToClient(host{bla: wire.Bla_ServerToClient(bla{}), fresh: fresh}))
}

func (h host) Shutdown() { h.bla.Release() }

func (h host) Fresh(_ context.Context, call wire.Host_fresh) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	e, err := h.fresh()
	if err != nil {
		return err
	}
	return results.SetEcho(e)
}

func (h host) Bla(_ context.Context, call wire.Host_bla) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetBla(h.bla.AddRef())
}

type bla struct{}

func (bla) Bar(_ context.Context, call wire.Bla_bar) error {
	text, err := call.Args().Text()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetBar(wire.Bar_ServerToClient(bar{text}))
}

type bar struct{ text string }

func (b bar) Creek(_ context.Context, call wire.Bar_creek) error {
	text, err := call.Args().Text()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetText(text + " of " + b.text)
}

// EarlyReturns are the methods that a broker answers with promises.
func EarlyReturns() []vat.EarlyReturn {
	return []vat.EarlyReturn{{Interface: wire.Bla_TypeID, Method: 0, Caps: [][]uint16{{0}}}}
}

// broker is Bob.
type broker struct {
	echo
	host    wire.Host
	bla     wire.Bla
	promise func() (wire.Bla, capnp.Resolver[wire.Bla])

	mu       sync.Mutex
	stock    []wire.Echo
	promised map[uint32]capnp.Resolver[wire.Bla]
}

// newBroker takes over its reference to the host, and waits until it is one.
func newBroker(ctx context.Context, h wire.Host, promise func() (wire.Bla, capnp.Resolver[wire.Bla])) (capnp.Client, error) {
	b := &broker{host: h, promise: promise, promised: map[uint32]capnp.Resolver[wire.Bla]{}}
	answer, release := h.Bla(ctx, nil)
	defer release()
	results, err := answer.Struct()
	if err != nil {
		h.Release()
		return capnp.Client{}, err
	}
	b.bla = results.Bla().AddRef()
	return capnp.Client(wire.Broker_ServerToClient(b)), nil
}

func (b *broker) Shutdown() {
	b.host.Release()
	b.bla.Release()
	for _, e := range b.stock {
		e.Release()
	}
}

func (b *broker) Stock(ctx context.Context, call wire.Broker_stock) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for missing := int(call.Args().Count()) - len(b.stock); missing > 0; {
		n := min(missing, 256) // at a time
		missing -= n
		if err := b.fetch(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// fetch adds n to the stock. Each comes with a call of its own: of several in one message, go-capnp leaks some.
func (b *broker) fetch(ctx context.Context, n int) error {
	answers := make([]wire.Host_fresh_Results_Future, n)
	for i := range answers {
		answer, release := b.host.Fresh(ctx, nil)
		defer release()
		answers[i] = answer
	}
	for _, answer := range answers {
		results, err := answer.Struct()
		if err != nil {
			return err
		}
		b.stock = append(b.stock, results.Echo().AddRef())
	}
	return nil
}

func (b *broker) Give(_ context.Context, call wire.Broker_give) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.stock) == 0 {
		return errors.New("nothing in stock")
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	last := len(b.stock) - 1
	e := b.stock[last]
	b.stock = b.stock[:last]
	return results.SetEcho(e)
}

func (b *broker) Through(_ context.Context, call wire.Broker_through) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetEcho(wire.Echo(capnp.Client(b.host).AddRef()))
}

func (b *broker) Promise(_ context.Context, call wire.Broker_promise) error {
	number := call.Args().Number()
	p, r := b.promise()
	b.mu.Lock()
	b.promised[number] = r
	b.mu.Unlock()
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetBla(p)
}

func (b *broker) Fulfill(_ context.Context, call wire.Broker_fulfill) error {
	number := call.Args().Number()
	b.mu.Lock()
	r, ok := b.promised[number]
	delete(b.promised, number)
	b.mu.Unlock()
	if !ok {
		return fmt.Errorf("nothing is promised under %d", number)
	}
	r.Fulfill(b.bla.AddRef())
	return nil
}

func (b *broker) Desk(_ context.Context, call wire.Broker_desk) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	var d wire.Echo_Server = desk{host: b.host.AddRef()}
	if call.Args().Tail() {
		d = tailDesk{d.(desk)}
	}
	return results.SetEcho(wire.Echo_ServerToClient(d))
}

// desk has the host do its work, and copies the results.
type desk struct {
	echo
	host wire.Host
}

func (d desk) Shutdown() { d.host.Release() }

func (d desk) Echo(ctx context.Context, call wire.Echo_echo) error {
	data, err := call.Args().Data()
	if err != nil {
		return err
	}
	call.Go()
	answer, release := d.host.Echo(ctx, func(p wire.Echo_echo_Params) error { return p.SetData(data) })
	defer release()
	echoed, err := answer.Struct()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	data, err = echoed.Data()
	if err != nil {
		return err
	}
	return results.SetData(data)
}

// tailDesk leaves it to the host to answer.
type tailDesk struct{ desk }

func (d tailDesk) Echo(ctx context.Context, call wire.Echo_echo) error {
	data, err := call.Args().Data()
	if err != nil {
		return err
	}
	return vat.TailCall(ctx, call, wire.Echo(d.host), wire.Echo.Echo, func(p wire.Echo_echo_Params) error { return p.SetData(data) })
}

// capCaller calls an Echo that is a capability.
type capCaller struct {
	to wire.Echo
	closers
}

func (c *capCaller) Echo(ctx context.Context, data []byte) error { return Call(ctx, c.to, data) }

func (c *capCaller) Stream(ctx context.Context, data []byte, n int) error {
	for range n {
		if err := c.to.Push(ctx, func(p wire.Echo_push_Params) error { return p.SetData(data) }); err != nil {
			return err
		}
	}
	return c.to.WaitStreaming()
}

// Call makes one call and reads its result.
func Call(ctx context.Context, to wire.Echo, data []byte) error {
	answer, release := to.Echo(ctx, func(p wire.Echo_echo_Params) error { return p.SetData(data) })
	defer release()
	results, err := answer.Struct()
	if err != nil {
		return err
	}
	got, err := results.Data()
	return checkEchoed(got, data, err)
}

func checkEchoed(got, want []byte, err error) error {
	if err == nil && len(got) != len(want) {
		err = fmt.Errorf("%d bytes came back of %d", len(got), len(want))
	}
	return err
}

// NewServer makes an object that is a server of go-capnp's.
func NewServer() (wire.Echo, error) { return wire.Echo_ServerToClient(echo{}), nil }

// Hold fetches n capabilities that live at c's host, and keeps them until release.
func Hold(ctx context.Context, c Caller, n int) (release func() error, err error) {
	caller, ok := c.(*capCaller)
	if !ok {
		return nil, fmt.Errorf("%T has no capabilities", c)
	}
	b := &broker{host: wire.Host(caller.to)} // it can fetch
	release = func() error {
		for _, e := range b.stock {
			e.Release()
		}
		b.stock = nil
		return nil
	}
	for len(b.stock) < n {
		if err := b.fetch(ctx, min(n-len(b.stock), 256)); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	return release, nil
}
