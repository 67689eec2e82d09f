package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/vat"
)

// panicArg has an object panic.
const panicArg = "panic"

// host is the bootstrap object of a process: Bob for some, Carol for others.
type host struct {
	p   *party
	bla threeparty.CapBla
}

func (p *party) serve(v *vat.Vat) (capnp.Client, error) {
	bla, err := vat.Spawn[threeparty.CapBla](v, threeparty.CapBla_Methods,
		func() threeparty.CapBla_Server { return capBla{p} },
		vat.Supervised(actors.Policy{Restarts: 1 << 30, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}))
	if err != nil {
		return capnp.Client{}, err
	}
	p.vat = v
	h := &host{p, bla}
	methods := threeparty.CarolAPI_Methods(threeparty.BobAPI_Methods(nil, h), h)
	p.self = capnp.NewClient(server.New(methods, h, h))
	return p.self.AddRef(), nil
}

func (h *host) Shutdown() { h.bla.Release() }

// CapBla implements threeparty.CarolAPI.
func (h *host) CapBla(_ context.Context, call threeparty.CarolAPI_capBla) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCapBla(h.bla.AddRef())
}

// Foo implements threeparty.BobAPI: what some vat hosts, as a promise or when it is here.
func (h *host) Foo(ctx context.Context, call threeparty.BobAPI_foo) error {
	call.Go()
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	carol := h.p.any()
	if rand.IntN(2) == 0 {
		bla, err := h.p.fetch(ctx, carol)
		if err != nil {
			return err
		}
		return results.SetCapBla(bla)
	}
	promise, resolver := vat.NewPromise[threeparty.CapBla](h.p.vat)
	h.p.promises.Go(func() {
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		bla, err := h.p.fetch(ctx, carol)
		if err != nil {
			resolver.Reject(err)
			return
		}
		resolver.Fulfill(bla)
	})
	return results.SetCapBla(promise)
}

// fetch asks a vat for what it hosts.
func (p *party) fetch(ctx context.Context, name string) (threeparty.CapBla, error) {
	boot := threeparty.CarolAPI(p.boot(ctx, name))
	defer boot.Release()
	ans, release := boot.CapBla(ctx, nil)
	defer release()
	got, err := ans.Struct()
	if err != nil {
		return threeparty.CapBla{}, err
	}
	return got.CapBla().AddRef(), nil
}

type capBla struct{ p *party }

func (c capBla) Bar(_ context.Context, call threeparty.CapBla_bar) error {
	arg, err := call.Args().BarArg()
	if err != nil {
		return err
	}
	if arg == panicArg {
		panic("it was told to")
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCapBar(threeparty.CapBar_ServerToClient(&capBar{p: c.p, arg: arg}))
}

// capBar checks that its calls, which are numbered, come in their order and each once.
type capBar struct {
	p    *party
	arg  string
	last atomic.Int64
}

func (c *capBar) Creek(_ context.Context, call threeparty.CapBar_creek) error {
	arg, err := call.Args().CreekArg()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64)
	if err != nil {
		return err
	}
	c.came(n)
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCreekResult(answer(arg, c.arg))
}

func (c *capBar) came(n int64) {
	if before := c.last.Swap(n); before >= n {
		c.p.violated("call %d came after %d", n, before)
	}
}

func answer(creek, bar string) string { return fmt.Sprintf("%s of %s", creek, bar) }
