package systems

import (
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
	wantNoError(t, alice.Forward(ctx, []byte("forward")))
	through, err := alice.Through(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer through.Release()
	wantNoError(t, Call(ctx, through, []byte("through")))
}
