package main

import (
	"fmt"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
)

// part is what a player plays: one of the programs of package threeparty, step by step.
type part interface {
	bootstrap() capnp.Client                              // for the vat; the caller owns it
	wrap(peer string, conn transport.Conn) transport.Conn // a new connection with peer
	act(step string) (result string, err error)           // one step, when it is due
}

func newPart(p *player, s setup) part {
	switch s.Name {
	case aliceName:
		return &alicePart{player: p, aliceGates: newAliceGates()}
	case bobName:
		return newBobPart(p, s)
	default:
		return &carolPart{player: p}
	}
}

type alicePart struct {
	*aliceGates
	player *player
	alice  threeparty.Alice
}

func (a *alicePart) bootstrap() capnp.Client { return capnp.Client{} }

func (a *alicePart) act(step string) (string, error) {
	p := a.player
	switch step {
	case stepAsk:
		return "", a.alice.Ask(p.life, p.vat, p.vatOf(bobName), firstArg)
	case stepUse:
		return a.alice.Use(p.life, creekArg, secondArg)
	case stepFreeFinishes:
		a.finish.Free()
		a.release.Free()
	case stepLetGo:
		a.alice.LetGoNext()
	default:
		return "", noStep(aliceName, step)
	}
	return "", nil
}

type bobPart struct {
	*bobGates
	player *player
	bob    *threeparty.Bob
	api    threeparty.BobAPI
}

func newBobPart(p *player, s setup) *bobPart {
	b := &bobPart{player: p, bobGates: newBobGates(s.Hold)}
	b.bob, b.api = threeparty.NewBob(p.called)
	return b
}

func (b *bobPart) bootstrap() capnp.Client { return capnp.Client(b.api) }

func (b *bobPart) act(step string) (string, error) {
	p := b.player
	switch step {
	case stepStart:
		return "", b.bob.Start(p.life, p.vat, p.vatOf(carolName))
	case stepResolve:
		b.bob.Resolve()
	case stepFreeResolve:
		b.resolve.Free()
	case stepFreeProvided:
		b.provided.Free()
	case stepFreeForwarded:
		b.forwarded.Free()
	case stepLetGo:
		b.bob.LetGo()
	default:
		return "", noStep(bobName, step)
	}
	return "", nil
}

type carolPart struct {
	gates  // none
	player *player
}

func (c *carolPart) bootstrap() capnp.Client {
	return capnp.Client(threeparty.NewCarol(c.player.called))
}
func (c *carolPart) act(step string) (string, error) { return "", noStep(carolName, step) }

func noStep(name, step string) error { return fmt.Errorf("%s has no step %q", name, step) }
