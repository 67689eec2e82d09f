package vat

import (
	"context"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
)

// Each peer gets its own, and when it has let go of it, it is gone.
func TestBootstrapFor(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	made := make(chan *probe, 1)
	c.start("host", func(cfg *Config, _ *transport.Config) {
		cfg.Bootstrap.Release()
		cfg.Bootstrap = capnp.Client{}
		cfg.BootstrapFor = func(peer transport.VatID) capnp.Client {
			if peer != id("alice") {
				return capnp.Client{}
			}
			p, client := newProbe("for " + string(peer))
			made <- p
			return capnp.Client(client)
		}
	})
	ctx := context.Background()
	if err := noteOn(ctx, c.bootstrap("alice", "host"), 1, 1); err != nil {
		t.Fatal(err)
	}
	p := arrives(t, "a capability for alice", made)
	p.wantOrder(t, 1, 1)
	err := noteOn(ctx, c.bootstrap("bob", "host"), 1, 1)
	if err == nil || !strings.Contains(err.Error(), "offers no bootstrap") {
		t.Errorf("bob, for whom there is none: %v", err)
	}
	c.shut()
	arrives(t, "the end of alice's", p.down)
}

func TestBootstrapForBesidesBootstrap(t *testing.T) {
	network, err := transport.NewMemory().Vat("a", transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	_, err = New(Config{
		Network:      network,
		Serve:        func(*Vat) (capnp.Client, error) { return capnp.Client{}, nil },
		BootstrapFor: func(transport.VatID) capnp.Client { return capnp.Client{} },
	})
	if err == nil || !strings.Contains(err.Error(), "BootstrapFor") {
		t.Errorf("New: %v", err)
	}
}
