package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/trace"
)

// play has the scenario carried out from beginning to end. Each step waits until the messages of the table
// that it brings about have arrived, so that the next can only follow them.
func (d *director) play(ctx context.Context) error {
	for _, scene := range []func(context.Context) error{
		d.gather, d.prelude, d.promise, d.handOff, d.use, d.letGo, d.settle,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// gather starts the players: Carol first, by whom the others find the cluster.
func (d *director) gather(ctx context.Context) error {
	found, err := d.setUp(ctx, nil, carolName)
	if err != nil {
		return err
	}
	others, err := d.setUp(ctx, []string{found[carolName].Gossip}, aliceName, bobName)
	if err != nil {
		return err
	}
	maps.Copy(found, others)
	vats := make(map[string]transport.VatID)
	for name, id := range found {
		vats[name] = id.Vat
	}
	return d.meet(ctx, vats)
}

// prelude: Bob imports capBla from Carol, and has finished both the bootstrap and the call that got it.
func (d *director) prelude(ctx context.Context) error {
	if err := d.act(ctx, bobName, stepStart); err != nil {
		return err
	}
	return d.await(ctx, "Bob's second finish to Carol", func() bool {
		finished := 0
		for _, l := range d.received {
			if l.From == bobName && l.To == carolName && l.Msg == "finish" {
				finished++
			}
		}
		return finished == 2
	})
}

// promise is rows 1 to 4. Foo returns once the call pipelined on it has reached Bob.
func (d *director) promise(ctx context.Context) error {
	if err := d.act(ctx, aliceName, stepAsk); err != nil {
		return err
	}
	if err := d.awaitRow(ctx, 2, 1); err != nil {
		return err
	}
	if err := d.await(ctx, "the call of foo", func() bool { return d.foo }); err != nil {
		return err
	}
	if err := d.let(bobName, calledFoo); err != nil {
		return err
	}
	return d.awaitRows(ctx, 3, 4)
}

// handOff is rows 5 to 13. Where the link to Carol is slow, what she answers comes later: rows 7 and 13.
func (d *director) handOff(ctx context.Context) error {
	if err := d.act(ctx, bobName, stepResolve); err != nil {
		return err
	}
	if d.hold == 0 {
		if err := d.awaitRows(ctx, 5, 6, 7); err != nil {
			return err
		}
		if err := d.act(ctx, bobName, stepFreeResolve); err != nil {
			return err
		}
	}
	if err := d.awaitRows(ctx, 8, 9, 10, 11); err != nil {
		return err
	}
	if err := d.awaitRow(ctx, 12, 2); err != nil || d.hold > 0 {
		return err
	}
	return d.awaitRow(ctx, 13, 1)
}

// use is rows 14 to 17. The disembargoes may reach Carol once Alice's calls have; creek returns first.
func (d *director) use(ctx context.Context) error {
	using, err := d.give(aliceName, order{Do: doAct, Step: stepUse})
	if err != nil {
		return err
	}
	if err := d.awaitRow(ctx, 14, 2); err != nil {
		return err
	}
	if err := d.act(ctx, bobName, stepFreeProvided); err != nil {
		return err
	}
	if err := d.await(ctx, "the second bar", d.called(calledSecond)); err != nil {
		return err
	}
	if err := d.act(ctx, bobName, stepFreeForwarded); err != nil {
		return err
	}
	if err := d.await(ctx, "creek", d.called(calledCreek)); err != nil {
		return err
	}
	if err := d.let(carolName, calledCreek); err != nil {
		return err
	}
	if err := d.awaitRow(ctx, 17, 3); err != nil {
		return err
	}
	if d.calls[0] == calledFirst { // else the second bar has gone on already, see takeCall
		if err := d.let(carolName, calledSecond); err != nil {
			return err
		}
	}
	result, err := d.outcome(ctx, using)
	if err != nil {
		return err
	}
	d.creekResult = result.Result
	if err := d.awaitRow(ctx, 17, 4); err != nil {
		return err
	}
	return d.act(ctx, aliceName, stepFreeFinishes)
}

// letGo is rows 18 to 20. Alice lets go of one thing after the other, the latest first; each is gone from all
// tables before the next.
func (d *director) letGo(ctx context.Context) error {
	for _, gone := range [][]int{nil, {14}, {2, 11}, {1, 10}, {rowAlicesPrelude}} {
		if err := d.act(ctx, aliceName, stepLetGo); err != nil {
			return err
		}
		if err := d.awaitOver(ctx, gone...); err != nil {
			return err
		}
	}
	if err := d.awaitOver(ctx, 5, 6); err != nil {
		return err
	}
	return d.act(ctx, bobName, stepLetGo)
}

// awaitOver waits until the questions of these rows are over: nothing that they brought is held any more.
func (d *director) awaitOver(ctx context.Context, rows ...int) error {
	for _, row := range rows {
		over := func() bool { return d.table.over(row) }
		if err := d.await(ctx, fmt.Sprintf("the release of row %d of the table", row), over); err != nil {
			return err
		}
	}
	return nil
}

// awaitRows waits until each of these rows has been received.
func (d *director) awaitRows(ctx context.Context, rows ...int) error {
	for _, row := range rows {
		if err := d.awaitRow(ctx, row, 1); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until all tables are empty and all messages have arrived, looking again whenever a message has
// come, and now and then besides, for a table may change without one. What is left then shows in the verdict.
func (d *director) settle(ctx context.Context) error {
	const look = 20 * time.Millisecond
	deadline := time.Now().Add(patience + 2*d.hold)
	for {
		err := d.all(ctx, order{Do: doTables}, func(name string, result *done) { d.tables[name] = *result.Tables })
		if err != nil {
			return err
		}
		if d.tablesEmpty() && d.allArrived() || time.Now().After(deadline) {
			return nil
		}
		if err := d.pause(ctx, look); err != nil {
			return err
		}
	}
}

// pause waits for the next piece of news, but not for longer than that.
func (d *director) pause(ctx context.Context, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case n := <-d.stage.news:
		return d.take(n)
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *director) tablesEmpty() bool {
	for _, name := range playerNames {
		if tables, ok := d.tables[name]; !ok || !tables.Empty() {
			return false
		}
	}
	return true
}

// allArrived reports whether each message that was sent has been received.
func (d *director) allArrived() bool {
	sent := 0
	for _, log := range d.logs {
		for _, e := range log {
			if e.Out {
				sent++
			}
		}
	}
	return sent == len(d.received)
}

// leave has the players close their vats and end. What they still say to each other is no part of the scenario.
func (d *director) leave() error {
	for _, name := range playerNames {
		if _, err := d.give(name, order{Do: doLeave}); err != nil {
			return err
		}
	}
	if err := d.stage.leave(); err != nil {
		return err
	}
	for {
		select {
		case n := <-d.stage.news: // all is there: the processes have ended
			if done := n.report.Done; done != nil && done.Error != "" {
				return fmt.Errorf("%s: %s", d.pending[done.Number], done.Error)
			}
		default:
			return nil
		}
	}
}

// exchange is all that was said until now, in the order in which it is told.
func (d *director) exchange() ([]trace.Message, error) {
	messages, err := trace.Pair(d.logs[aliceName], d.logs[bobName], d.logs[carolName])
	if err != nil {
		return nil, err
	}
	lines := make([]trace.Line, len(messages))
	for i, m := range messages {
		lines[i] = m.Line
	}
	for i, row := range newTable(lines).rows {
		messages[i].Row = row
	}
	ordered, err := trace.Linearize(messages)
	if err != nil {
		return nil, fmt.Errorf("the exchange contradicts itself: %w", err)
	}
	return ordered, nil
}
