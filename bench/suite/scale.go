package suite

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/vatwork/vatwork/bench/systems"
	"github.com/vatwork/vatwork/bench/wire"
)

// setUpScale: what many cost.
func setUpScale(ctx context.Context, s *stage) error {
	if err := s.weigh(ctx); err != nil {
		return err
	}
	for _, exports := range slices.Compact([]int{1, min(1_000, s.cfg.Many), s.cfg.Many}) {
		if err := s.addExports(ctx, exports); err != nil {
			return err
		}
	}
	return s.addFloor(ctx, 2, exportsCase(1))
}

func exportsCase(n int) string { return fmt.Sprintf("a call, %d exports", n) }

// addExports adds calls to a host of which this vat holds so many capabilities.
func (s *stage) addExports(ctx context.Context, n int) error {
	for _, system := range []systems.System{systems.Vatwork, systems.GoCapnp} {
		fmt.Fprintf(s.cfg.Progress, "%s: %s with %d exports\n", s.bench, system.Name(), n)
		part := Part{System: system.Name(), Transport: systems.TCP}
		p, err := s.peer(part, 2)
		if err != nil {
			return err
		}
		c, err := s.caller(ctx, part, p)
		if err != nil {
			return err
		}
		held, err := systems.Hold(ctx, c, n-1) // the bootstrap is one
		if err != nil {
			return err
		}
		s.atEnd(held)
		for _, callers := range []int{1, 64} {
			s.add(subject{
				row:     Row{System: part.System, Transport: "tcp", Mode: mode(callers), Case: exportsCase(n), Processes: 2},
				callers: callers, usage: usageOf(p),
				op: func(ctx context.Context) error { return c.Echo(ctx, small) },
			})
		}
	}
	return nil
}

// few is how many things are weighed.
func (s *stage) few() int { return max(s.cfg.Many/10, 1) }

// weigh finds what idle things take, on the heap and in stacks, in this process.
func (s *stage) weigh(ctx context.Context) error {
	v, spawn, err := systems.NewObjects()
	if err != nil {
		return err
	}
	s.atEnd(v.Close)
	for name, make := range map[string]func() (wire.Echo, error){"vatwork": spawn, "go-capnp": systems.NewServer} {
		if err := s.weighObjects(name, make); err != nil {
			return err
		}
	}
	for _, system := range []systems.System{systems.Vatwork, systems.GoCapnp} {
		if err := s.weighImports(ctx, system); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) weighed(system, what, transport string, processes, n int, bytes uint64) {
	s.measured = append(s.measured, Row{
		Bench: s.bench, System: system, Transport: transport, Mode: "idle", Case: what, Processes: processes,
		Bytes: float64(bytes) / float64(n), Rounds: 1, Measured: n,
	})
}

func (s *stage) weighObjects(system string, newObject func() (wire.Echo, error)) error {
	n := s.few()
	before := weight()
	all := make([]wire.Echo, n)
	defer func() {
		for _, c := range all {
			c.Release()
		}
	}()
	for i := range all {
		var err error
		if all[i], err = newObject(); err != nil {
			return err
		}
	}
	s.weighed(system, "an object", "none", 1, n, weight()-before)
	return nil
}

// weighImports: an import and its export are weighed together, with the object behind it, for both ends are here.
func (s *stage) weighImports(ctx context.Context, system systems.System) error {
	n := s.few()
	part := Part{System: system.Name(), Transport: systems.TCP}
	p, err := s.peer(part, 1)
	if err != nil {
		return err
	}
	c, err := s.caller(ctx, part, p)
	if err != nil {
		return err
	}
	before := weight()
	release, err := systems.Hold(ctx, c, n)
	if err != nil {
		return err
	}
	s.weighed(system.Name(), "an import, its export, and the server behind it", "tcp", 1, n, weight()-before)
	return release()
}

// weight is what this process has on the heap and in stacks, once what is garbage is gone.
func weight() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
