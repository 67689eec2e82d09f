package suite

import (
	"context"
	"errors"

	"github.com/vatwork/vatwork/bench/systems"
	"github.com/vatwork/vatwork/bench/wire"
)

// setUpLocal: an object actor beside a server of go-capnp's.
func setUpLocal(_ context.Context, s *stage) error {
	v, spawn, err := systems.NewObjects()
	if err != nil {
		return err
	}
	s.atEnd(v.Close)
	objects := map[string]func() (wire.Echo, error){"vatwork": spawn, "go-capnp": systems.NewServer}
	for _, name := range []string{"vatwork", "go-capnp"} {
		echo, err := objects[name]()
		if err != nil {
			return errors.Join(err)
		}
		s.atEnd(func() error { echo.Release(); return nil })
		for _, n := range []int{1, 64} {
			s.add(subject{
				row:     Row{System: name, Transport: "none", Mode: mode(n), Processes: 1},
				callers: n, usage: ownUsage,
				op: func(ctx context.Context) error { return systems.Call(ctx, echo, small) },
			})
		}
	}
	return nil
}
