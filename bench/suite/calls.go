package suite

import (
	"context"
	"fmt"

	"github.com/vatwork/vatwork/bench/systems"
)

// mode is how many operations go on at a time, as rows say it.
func mode(callers int) string {
	if callers == 1 {
		return "serial"
	}
	return fmt.Sprintf("x%d", callers)
}

// smallData is what a small call carries each way, in bytes.
const smallData = 16

// callers that are compared, except where a row says otherwise.
var peers = []systems.System{systems.Vatwork, systems.GoCapnp, systems.GRPC, systems.Raw}

// setUpCalls: each system over each transport.
func setUpCalls(ctx context.Context, s *stage) error {
	data := make([]byte, smallData)
	for _, at := range []struct {
		transport systems.Transport
		processes int
		callers   []int
	}{
		{systems.TCP, 2, []int{1, 64, 256}},
		{systems.TLS, 2, []int{1, 64}},
		{systems.Unix, 2, []int{1, 64}},
		{systems.TCP, 1, []int{1, 64}},
	} {
		for _, system := range peers {
			part := Part{System: system.Name(), Transport: at.transport}
			p, err := s.peer(part, at.processes)
			if err != nil {
				return err
			}
			c, err := s.caller(ctx, part, p)
			if err != nil {
				return err
			}
			for _, n := range at.callers {
				s.add(subject{
					row:     Row{System: part.System, Transport: string(at.transport), Mode: mode(n), Processes: at.processes},
					callers: n, usage: usageOf(p),
					op: func(ctx context.Context) error { return c.Echo(ctx, data) },
				})
			}
			if at.processes == 1 {
				// Where no other thread can be woken: what a call takes of a processor, without what it is to wake one.
				s.add(subject{
					row:     Row{System: part.System, Transport: string(at.transport), Mode: mode(1), Case: "GOMAXPROCS=1", Processes: 1},
					callers: 1, procs: 1, usage: usageOf(p),
					op: func(ctx context.Context) error { return c.Echo(ctx, data) },
				})
			}
		}
	}
	return nil
}

// setUpData: large calls, and a stream.
func setUpData(ctx context.Context, s *stage) error {
	const kib, pieces = 1 << 10, 32
	for _, transport := range []systems.Transport{systems.TCP, systems.TLS} {
		for _, system := range peers {
			part := Part{System: system.Name(), Transport: transport}
			p, err := s.peer(part, 2)
			if err != nil {
				return err
			}
			c, err := s.caller(ctx, part, p)
			if err != nil {
				return err
			}
			row := Row{System: part.System, Transport: string(transport), Mode: mode(1), Processes: 2}
			for _, size := range []int{64 * kib, 1024 * kib} {
				row.Case = sized(size)
				data := make([]byte, size)
				s.add(subject{row: row, callers: 1, usage: usageOf(p), op: func(ctx context.Context) error { return c.Echo(ctx, data) }})
			}
			row.Case = fmt.Sprintf("stream of %d pieces of 64 KiB", pieces)
			piece := make([]byte, 64*kib)
			s.add(subject{row: row, callers: 1, usage: usageOf(p), op: func(ctx context.Context) error { return c.Stream(ctx, piece, pieces) }})
		}
	}
	return nil
}
