package bench

import (
	"context"
	"fmt"
	"testing"

	"github.com/vatwork/vatwork/bench/systems"
	"github.com/vatwork/vatwork/bench/wire"
)

// each runs a benchmark of each system.
func each(b *testing.B, all []systems.System, set func(*testing.B, systems.System) (op func(context.Context) error)) {
	for _, s := range all {
		b.Run(s.Name(), func(b *testing.B) {
			op := set(b, s)
			b.ReportAllocs()
			for b.Loop() {
				if err := op(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// closed closes c in the end.
func closed[C interface{ Close() error }](b *testing.B, c C, err error) C {
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

func BenchmarkData(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			each(b, []systems.System{systems.Vatwork, systems.GoCapnp}, func(b *testing.B, s systems.System) func(context.Context) error {
				c, data := dialed(b, s), make([]byte, size)
				b.SetBytes(2 * int64(size))
				return func(ctx context.Context) error { return c.Echo(ctx, data) }
			})
		})
	}
}

func BenchmarkStream(b *testing.B) {
	const pieces, size = 32, 64 << 10
	each(b, []systems.System{systems.Vatwork, systems.GoCapnp}, func(b *testing.B, s systems.System) func(context.Context) error {
		c, data := dialed(b, s), make([]byte, size)
		b.SetBytes(pieces * size)
		return func(ctx context.Context) error { return c.Stream(ctx, data, pieces) }
	})
}

// dialed calls what s serves.
func dialed(b *testing.B, s systems.System) systems.Caller {
	served, err := s.Serve(systems.TCP)
	closed(b, served, err)
	c, err := s.Dial(b.Context(), systems.TCP, served.Addr())
	return closed(b, c, err)
}

func BenchmarkForward(b *testing.B) {
	each(b, []systems.System{systems.Vatwork, systems.VatworkProxied, systems.GoCapnp}, func(b *testing.B, s systems.System) func(context.Context) error {
		carol, err := s.Serve(systems.TCP)
		closed(b, carol, err)
		brokers := s.(systems.Broking)
		bob, err := brokers.ServeBroker(systems.TCP, carol.Addr())
		closed(b, bob, err)
		alice, err := brokers.DialBroker(b.Context(), systems.TCP, bob.Addr())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := alice.Close(); err != nil {
				b.Error(err)
			}
		})
		desk, err := alice.Desk(b.Context(), s != systems.GoCapnp) // which has no tail calls
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(desk.Release)
		data := make([]byte, 16)
		return func(ctx context.Context) error { return systems.Call(ctx, desk, data) }
	})
}

func BenchmarkLocal(b *testing.B) {
	v, spawn, err := systems.NewObjects()
	closed(b, v, err)
	for _, name := range []string{"vatwork", "go-capnp"} {
		object := map[string]func() (wire.Echo, error){"vatwork": spawn, "go-capnp": systems.NewServer}[name]
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				echo, err := object()
				if err != nil {
					b.Fatal(err)
				}
				defer echo.Release()
				b.ReportAllocs()
				b.ResetTimer()
				if err := together(b.N, callers, func() error { return systems.Call(b.Context(), echo, make([]byte, 16)) }); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
