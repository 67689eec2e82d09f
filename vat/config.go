package vat

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// A Directory knows where vats are. Package cluster has one, by memberlist. Its methods are called from any
// goroutine, and must not block.
type Directory interface {
	// Addresses of a vat, best first; none if it is not known.
	Addresses(transport.VatID) []string
}

// Config is what a vat is made of. It is copied; the caller's value is never changed.
type Config struct {
	// Network by which it reaches others and is reached. Required. It is the vat's once New has
	// succeeded: Close closes it.
	Network transport.Network

	// Directory to look up vats in; nil: none, only addresses that are given or come with a handoff.
	Directory Directory

	// Bootstrap is what any peer gets by asking. Zero: asking is answered with an exception. The
	// reference passes to the vat.
	Bootstrap capnp.Client

	// Serve, if not nil, makes the bootstrap capability with the vat at hand, for example by Spawn. New
	// calls it before the vat serves its first peer, and fails if it does. Not both Bootstrap and Serve.
	Serve func(*Vat) (capnp.Client, error)

	// BootstrapFor, if not nil, makes what each peer gets by asking: a capability that knows for whom it is. The id is
	// the one that the session has proven, or an IsTwoParty. It is called within turns, so it must not block, nor
	// call into the vat; the reference that it returns passes to the vat, and a null one is answered with an
	// exception. Not besides Bootstrap or Serve.
	BootstrapFor func(peer transport.VatID) capnp.Client

	// EarlyReturn names the methods that answer with promises, see there.
	EarlyReturn []EarlyReturn

	// ForwardCalls has the results of calls go past this vat that a peer makes on a promise of this vat's, or on what a call
	// is to return, and that turn out to be for another vat: they are forwarded, as those of TailCall are. Otherwise their
	// results come back by here. The documentation of the package
	// says under "Call forwarding" what speaks for either.
	ForwardCalls bool

	// Limits on what peers and local code may hold at a time; zero fields mean those of DefaultLimits.
	Limits Limits

	// TwoParty is for connections of ServeTwoParty and DialTwoParty, which have no Network: of it, Limits and
	// Wrap count.
	TwoParty transport.Config

	// Logger hears of faults of peers and of our own; nil means slog.Default.
	Logger *slog.Logger

	// Tap, if not nil, sees every RPC message of the vat, in order for each peer and direction: those
	// sent as they are handed to the transport, those received as they are dealt with. It is called
	// within turns, so it must not block, nor call into the vat.
	Tap func(TapEvent)
}

// A TapEvent is one message sent or received.
type TapEvent struct {
	Out  bool // sent by this vat
	Peer transport.Hello
	At   time.Time
	// Message is valid during the call only, and not to be changed.
	Message rpc.Message
}

func (c Config) validate() error {
	if c.Network == nil {
		return errors.New("vat: Config.Network is nil: give it one, for example transport.ListenTLS")
	}
	if c.Bootstrap.IsValid() && c.Serve != nil {
		return errors.New("vat: Config has both Bootstrap and Serve: give it one")
	}
	if c.BootstrapFor != nil && (c.Bootstrap.IsValid() || c.Serve != nil) {
		return errors.New("vat: Config has BootstrapFor besides Bootstrap or Serve: give it one")
	}
	if err := c.Limits.validate(); err != nil {
		return err
	}
	for i, e := range c.EarlyReturn {
		if len(e.Caps) == 0 {
			return fmt.Errorf("vat: Config.EarlyReturn[%d] (%#x.%d) names no capability of the results", i, e.Interface, e.Method)
		}
		for _, path := range e.Caps {
			if len(path) == 0 || len(path) > 64 {
				return fmt.Errorf("vat: Config.EarlyReturn[%d] (%#x.%d) has a path of %d fields", i, e.Interface, e.Method, len(path))
			}
		}
	}
	return nil
}
