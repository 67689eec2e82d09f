package suite

import (
	"context"
	"fmt"

	"github.com/vatwork/vatwork/bench/systems"
	"github.com/vatwork/vatwork/bench/wire"
)

// trio is a host and a broker, and an Alice in this process.
type trio struct {
	row   Row
	alice *systems.Alice
	usage func() (Usage, error)
}

func (s *stage) trio(ctx context.Context, system systems.System) (trio, error) {
	const over, processes = systems.TCP, 3
	host, err := s.peer(Part{System: system.Name(), Transport: over}, processes)
	if err != nil {
		return trio{}, err
	}
	broker, err := s.peer(Part{System: system.Name(), Transport: over, Host: host.Addr()}, processes)
	if err != nil {
		return trio{}, err
	}
	alice, err := system.(systems.Broking).DialBroker(ctx, over, broker.Addr())
	if err != nil {
		return trio{}, err
	}
	s.atEnd(alice.Close)
	return trio{
		row:   Row{System: system.Name(), Transport: string(over), Processes: processes},
		alice: alice, usage: usageOf(host, broker),
	}, nil
}

// subject is one of t, in which that many do op at a time.
func (t trio) subject(what string, callers int, op func(context.Context) error) subject {
	row := t.row
	row.Case, row.Mode = what, mode(callers)
	return subject{row: row, callers: callers, usage: t.usage, op: op}
}

var small = make([]byte, smallData)

// brokers hand capabilities on.
var brokers = []systems.System{systems.Vatwork, systems.VatworkProxied, systems.GoCapnp}

// setUpHandoff: the call that each system makes is there to compare with.
func setUpHandoff(ctx context.Context, s *stage) error {
	for _, system := range brokers {
		t, err := s.trio(ctx, system)
		if err != nil {
			return err
		}
		for _, n := range []int{1, 64} {
			s.add(t.subject("call", n, func(ctx context.Context) error { return systems.Call(ctx, wire.Echo(t.alice.Direct), small) }))
			handoff := t.subject("handoff", n, func(ctx context.Context) error { return t.alice.Handoff(ctx, small) })
			handoff.before, handoff.slice = t.alice.Stock, 1000
			s.add(handoff)
		}
	}
	if err := s.addCold(ctx); err != nil {
		return err
	}
	return s.addFloor(ctx, 3, "call", "handoff")
}

// addCold adds handoffs to a vat that the recipient has no session with yet: the one before has been ended.
func (s *stage) addCold(ctx context.Context) error {
	t, err := s.trio(ctx, systems.Vatwork)
	if err != nil {
		return err
	}
	cold := t.subject("handoff", 1, func(ctx context.Context) error { return t.alice.Handoff(ctx, small) })
	cold.row.Mode = "cold"
	cold.slice = 1
	cold.before = func(ctx context.Context, n int) error {
		t.alice.Forget()
		return t.alice.Stock(ctx, n)
	}
	s.add(cold)
	return nil
}

// addFloor adds what raw connections take for one exchange, once for each of these cases.
func (s *stage) addFloor(ctx context.Context, processes int, cases ...string) error {
	part := Part{System: systems.Raw.Name(), Transport: systems.TCP}
	p, err := s.peer(part, processes)
	if err != nil {
		return err
	}
	c, err := s.caller(ctx, part, p)
	if err != nil {
		return err
	}
	for _, what := range cases {
		for _, n := range []int{1, 64} {
			s.add(subject{
				row:     Row{System: part.System, Transport: string(part.Transport), Mode: mode(n), Case: what, Processes: processes},
				callers: n, usage: usageOf(p),
				op: func(ctx context.Context) error { return c.Echo(ctx, small) },
			})
		}
	}
	return nil
}

// setUpScenario: the whole exchange.
func setUpScenario(ctx context.Context, s *stage) error {
	t, err := s.trio(ctx, systems.Vatwork)
	if err != nil {
		return err
	}
	for _, n := range []int{1, 64} {
		s.add(t.subject("", n, t.alice.Scenario))
	}
	return s.addFloor(ctx, 3, "")
}

// setUpShortened: the same call by different ways.
func setUpShortened(ctx context.Context, s *stage) error {
	for _, system := range brokers {
		t, err := s.trio(ctx, system)
		if err != nil {
			return err
		}
		given, err := t.alice.Through(ctx)
		if err != nil {
			return err
		}
		s.atEnd(func() error { given.Release(); return nil })
		ways := map[string]wire.Echo{"by the broker's capability": given, "direct": wire.Echo(t.alice.Direct)}
		for _, n := range []int{1, 64} {
			for _, what := range []string{"by the broker's capability", "direct"} {
				to := ways[what]
				if err := systems.Call(ctx, to, small); err != nil {
					return fmt.Errorf("%s, %s: %w", system.Name(), what, err)
				}
				s.add(t.subject(what, n, func(ctx context.Context) error { return systems.Call(ctx, to, small) }))
			}
		}
	}
	return s.addFloor(ctx, 3, "by the broker's capability", "direct")
}

// setUpForward: calls that the broker does not answer itself.
func setUpForward(ctx context.Context, s *stage) error {
	const tail, copied = "by a tail call", "by a call, copied"
	for _, system := range brokers {
		t, err := s.trio(ctx, system)
		if err != nil {
			return err
		}
		for _, what := range []string{tail, copied} {
			to, err := t.alice.Desk(ctx, what == tail && system != systems.GoCapnp) // which has no tail calls
			if err != nil {
				return err
			}
			s.atEnd(func() error { to.Release(); return nil })
			for _, size := range []int{smallData, 64 << 10} {
				data := make([]byte, size)
				if err := systems.Call(ctx, to, data); err != nil {
					return fmt.Errorf("%s, %s: %w", system.Name(), what, err)
				}
				callers := []int{1, 64}
				if size > smallData {
					callers = callers[:1]
				}
				for _, n := range callers {
					s.add(t.subject(fmt.Sprintf("%s, %s", what, sized(size)), n, func(ctx context.Context) error { return systems.Call(ctx, to, data) }))
				}
			}
		}
	}
	return s.addFloor(ctx, 3, tail+", "+sized(smallData), copied+", "+sized(smallData))
}

// sized is a number of bytes as rows say it.
func sized(n int) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
