package systems

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/bench/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each system does over each transport what is measured of it.
func TestEachCalls(t *testing.T) {
	for name, s := range All {
		for _, over := range []Transport{TCP, TLS, Unix} {
			t.Run(name+"/"+string(over), func(t *testing.T) {
				server, err := s.Serve(over)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { wantNoError(t, server.Close()) }()
				c, err := s.Dial(t.Context(), over, server.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { wantNoError(t, c.Close()) }()
				for _, size := range []int{0, 16, 100_000} {
					wantNoError(t, c.Echo(t.Context(), make([]byte, size)))
				}
				wantNoError(t, c.Stream(t.Context(), make([]byte, 1000), 10))
			})
		}
	}
}

func wantNoError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestEachBrokers(t *testing.T) {
	for name, s := range All {
		brokers, ok := s.(Broking)
		if !ok {
			continue
		}
		for _, over := range []Transport{TCP, TLS} {
			t.Run(name+"/"+string(over), func(t *testing.T) {
				host, err := s.Serve(over)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { wantNoError(t, host.Close()) }()
				broker, err := brokers.ServeBroker(over, host.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { wantNoError(t, broker.Close()) }()
				alice, err := brokers.DialBroker(t.Context(), over, broker.Addr())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { wantNoError(t, alice.Close()) }()
				useBroker(t, alice)
				if s != GoCapnp { // its connections do not survive it always
					for range 3 {
						wantNoError(t, alice.Scenario(t.Context()))
					}
				}
			})
		}
	}
}

func useBroker(t *testing.T, alice *Alice) {
	t.Helper()
	ctx := t.Context()
	wantNoError(t, alice.Stock(ctx, 3))
	for range 3 {
		wantNoError(t, alice.Handoff(ctx, []byte("given")))
	}
	if alice.Handoff(ctx, nil) == nil {
		t.Error("more was given than was in stock")
	}
	wantNoError(t, Call(ctx, wire.Echo(alice.Direct), []byte("direct")))
	for _, tail := range []bool{true, false} {
		desk, err := alice.Desk(ctx, tail)
		if err != nil {
			t.Fatal(err)
		}
		wantNoError(t, Call(ctx, desk, []byte("forward")))
		desk.Release()
	}
	through, err := alice.Through(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer through.Release()
	wantNoError(t, Call(ctx, through, []byte("through")))
}

// Every vat of a mesh takes its turn in each part, more often than there is in stock at first.
func TestMesh(t *testing.T) {
	for _, vats := range []int{3, 7} {
		m, err := NewMesh(t.Context(), vats)
		if err != nil {
			t.Fatal(err)
		}
		wantNoError(t, m.Stock(t.Context(), 100))
		for range 100 {
			wantNoError(t, m.Handoff(t.Context(), []byte("given")))
		}
		wantNoError(t, m.Close())
	}
}

// A crowd is there until it is closed, and others are served meanwhile.
func TestCrowds(t *testing.T) {
	for name, s := range All {
		crowding, ok := s.(Crowding)
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			host, err := s.Serve(TCP)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { wantNoError(t, host.Close()) }()
			c, err := crowding.Crowd(t.Context(), TCP, host.Addr(), 40)
			if err != nil {
				t.Fatal(err)
			}
			caller, err := s.Dial(t.Context(), TCP, host.Addr())
			if err != nil {
				t.Fatal(err)
			}
			wantNoError(t, caller.Echo(t.Context(), []byte("served")))
			wantNoError(t, caller.Close())
			wantNoError(t, c.Close())
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range All {
		if crowding, ok := s.(Crowding); ok {
			if _, err := crowding.Crowd(ctx, TCP, "plain|127.0.0.1:1", 3); err == nil {
				t.Errorf("%s: a crowd at nobody's", s.Name())
			}
		}
	}
}
