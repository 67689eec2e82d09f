package suite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/vatwork/vatwork/bench/systems"
	"github.com/vatwork/vatwork/bench/wire"
)

// What there is many of, as fractions of the exports.
const (
	exportsPerSession = 100
	exportsPerVat     = 2_000
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
	if err := s.addSessions(ctx, max(s.cfg.Many/exportsPerSession, 1)); err != nil {
		return err
	}
	vats := max(s.cfg.Many/exportsPerVat, leastVats)
	for _, n := range slices.Compact([]int{leastVats, min(10, vats), vats}) {
		if err := s.addVats(ctx, n); err != nil {
			return err
		}
	}
	return s.addFloor(ctx, 2, exportsCase(1))
}

// leastVats are what a handoff takes.
const leastVats = 3

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

// addSessions weighs a session at a host that has so many, and adds calls to it.
func (s *stage) addSessions(ctx context.Context, n int) error {
	for _, system := range []systems.System{systems.Vatwork, systems.GoCapnp} {
		fmt.Fprintf(s.cfg.Progress, "%s: %s with %d sessions\n", s.bench, system.Name(), n)
		part := Part{System: system.Name(), Transport: systems.TCP}
		p, err := s.peer(part, 3)
		if err != nil {
			return err
		}
		c, err := s.caller(ctx, part, p)
		if err != nil {
			return err
		}
		before, err := p.weight()
		if err != nil {
			return err
		}
		part.Host, part.Crowd = p.Addr(), n
		if _, err := s.peer(part, 3); err != nil {
			return err
		}
		after, err := p.weight()
		if err != nil {
			return err
		}
		s.weighed(part.System, "a session", "tcp", 3, n, after-before)
		for _, callers := range []int{1, 64} {
			s.add(subject{
				row:     Row{System: part.System, Transport: "tcp", Mode: mode(callers), Case: fmt.Sprintf("a call, %d sessions", n+1), Processes: 3},
				callers: callers, usage: usageOf(p),
				op: func(ctx context.Context) error { return c.Echo(ctx, small) },
			})
		}
	}
	return nil
}

// addVats adds handoffs among so many vats.
func (s *stage) addVats(ctx context.Context, n int) error {
	fmt.Fprintf(s.cfg.Progress, "%s: %d vats\n", s.bench, n)
	m, err := systems.NewMesh(ctx, n)
	if err != nil {
		return err
	}
	s.atEnd(m.Close)
	for _, callers := range []int{1, 64} {
		s.add(subject{
			row:     Row{System: systems.Vatwork.Name(), Transport: "tcp", Mode: mode(callers), Case: fmt.Sprintf("a handoff among %d vats", n), Processes: 1},
			callers: callers, usage: ownUsage, before: m.Stock, slice: 1000,
			op: func(ctx context.Context) error { return m.Handoff(ctx, small) },
		})
	}
	return nil
}

// few is how many things are weighed.
func (s *stage) few() int { return max(s.cfg.Many/4, 1) }

// weigh finds what idle things take, on the heap and in stacks.
func (s *stage) weigh(ctx context.Context) error {
	v, spawn, err := systems.NewObjects()
	if err != nil {
		return err
	}
	s.atEnd(v.Close)
	actors, err := s.weighObjects("vatwork", spawn)
	if err != nil {
		return err
	}
	servers, err := s.weighObjects("go-capnp", systems.NewServer)
	if err != nil {
		return err
	}
	if err := s.weighImports(ctx, "vatwork", systems.VatworkActors, actors); err != nil {
		return err
	}
	return s.weighImports(ctx, "go-capnp", systems.GoCapnp, servers)
}

// weighed adds a row of what so many things take together.
func (s *stage) weighed(system, what, transport string, processes, n int, bytes uint64) {
	s.measured = append(s.measured, Row{
		Bench: s.bench, System: system, Transport: transport, Mode: "idle", Case: what, Processes: processes,
		Bytes: float64(bytes) / float64(n), Rounds: 1, Measured: n,
	})
}

// weighObjects says what all of them weigh.
func (s *stage) weighObjects(system string, newObject func() (wire.Echo, error)) (bytes uint64, err error) {
	n := s.few()
	before := weight()
	all := make([]wire.Echo, n)
	defer func() {
		for _, c := range all {
			c.Release()
		}
	}()
	for i := range all {
		if all[i], err = newObject(); err != nil {
			return 0, err
		}
	}
	bytes = weight() - before
	s.weighed(system, "an object", "none", 1, n, bytes)
	return bytes, nil
}

// weighImports weighs imports here, and at their host the exports, without what as many objects weigh.
// The caller is closed, for what is let go of is not gone at once, and something else is weighed next.
func (s *stage) weighImports(ctx context.Context, name string, system systems.System, objects uint64) (err error) {
	n := s.few()
	p, err := s.peer(Part{System: system.Name(), Transport: systems.TCP}, 2)
	if err != nil {
		return err
	}
	c, err := system.Dial(ctx, systems.TCP, p.Addr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	before := weight()
	hostBefore, err := p.weight()
	if err != nil {
		return err
	}
	release, err := systems.Hold(ctx, c, n)
	if err != nil {
		return err
	}
	s.weighed(name, "an import", "tcp", 2, n, weight()-before)
	hostAfter, err := p.weight()
	if err != nil {
		return err
	}
	exports := max(int64(hostAfter-hostBefore-objects), 1) // with few of them, there may be less than nothing
	s.weighed(name, "an export", "tcp", 2, n, uint64(exports))
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
