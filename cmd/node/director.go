package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/trace"
)

// patience bounds each wait for something that should happen at once, beyond the delay of the link.
const patience = 5 * time.Second

// director has the players carry out the scenario, and takes down what they report. It is one goroutine's.
type director struct {
	stage *stage
	hold  time.Duration

	orders  int            // given so far, which is also the number of the last
	pending map[int]string // orders not reported done, and what they were
	results map[int]*done

	logs     map[string][]trace.Event // what each player saw, in its order
	received []trace.Line             // by anyone, in the order of the reports; each link in its own order
	table    *table                   // of received
	calls    []string                 // of Carol's objects, in the order in which they came
	foo      bool                     // Bob's foo has been called

	creekResult string
	tables      map[string]vat.Tables
}

func newDirector(s *stage, hold time.Duration) *director {
	return &director{
		stage:   s,
		hold:    hold,
		pending: make(map[int]string),
		results: make(map[int]*done),
		table:   newTable(nil),
		logs:    make(map[string][]trace.Event),
		tables:  make(map[string]vat.Tables),
	}
}

// give gives an order and returns its number.
func (d *director) give(name string, o order) (int, error) {
	p := d.stage.players[name]
	d.orders++
	o.Number = d.orders
	what := fmt.Sprintf("%s, %s", name, o.Do)
	if detail := o.Step + o.What; detail != "" {
		what += " " + detail
	}
	d.pending[o.Number] = what
	if err := p.orders.Encode(o); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return o.Number, nil
}

// ask gives an order and waits until it is carried out.
func (d *director) ask(ctx context.Context, name string, o order) (*done, error) {
	n, err := d.give(name, o)
	if err != nil {
		return nil, err
	}
	return d.outcome(ctx, n)
}

// act has a player carry out a step.
func (d *director) act(ctx context.Context, name, step string) error {
	_, err := d.ask(ctx, name, order{Do: doAct, Step: step})
	return err
}

// let lets a call of a player's object go on.
func (d *director) let(name, what string) error {
	_, err := d.give(name, order{Do: doLet, What: what})
	return err
}

// outcome waits for an order given before.
func (d *director) outcome(ctx context.Context, number int) (*done, error) {
	what := d.pending[number]
	err := d.await(ctx, what, func() bool { return d.results[number] != nil })
	if err != nil {
		return nil, err
	}
	result := d.results[number]
	delete(d.results, number)
	return result, nil
}

// await takes reports in until happened says so. It fails when a player does, or patience ends.
func (d *director) await(ctx context.Context, what string, happened func() bool) error {
	late := time.NewTimer(patience + 2*d.hold)
	defer late.Stop()
	for !happened() {
		select {
		case n := <-d.stage.news:
			if err := d.take(n); err != nil {
				return err
			}
		case <-late.C:
			return fmt.Errorf("%s: has not happened within %v", what, patience+2*d.hold)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

// awaitRow waits until n messages of that row of the table have been received.
func (d *director) awaitRow(ctx context.Context, row, n int) error {
	return d.await(ctx, fmt.Sprintf("row %d of the table", row), func() bool { return d.count(row) >= n })
}

// count is the number of messages of a row that have been received.
func (d *director) count(row int) int {
	n := 0
	for _, r := range d.table.rows {
		if r == row {
			n++
		}
	}
	return n
}

// take notes one piece of news.
func (d *director) take(n news) error {
	r := n.report
	switch {
	case n.ended:
		return d.stage.players[n.from].complaint()
	case r.Lost > 0:
		return fmt.Errorf("%s lost %d reports", n.from, r.Lost)
	case r.Done != nil:
		what := d.pending[r.Done.Number]
		delete(d.pending, r.Done.Number)
		if r.Done.Error != "" {
			return fmt.Errorf("%s: %s", what, r.Done.Error)
		}
		d.results[r.Done.Number] = r.Done
	case r.Called != "":
		return d.takeCall(n.from, r.Called)
	case r.Event != nil:
		d.logs[n.from] = append(d.logs[n.from], *r.Event)
		if !r.Event.Out {
			d.received = append(d.received, r.Event.Line)
			d.table = newTable(d.received)
		}
	}
	return nil
}

// takeCall notes a call of a player's object. The script lets those go on that the table puts in an order;
// what comes otherwise than it should goes on at once, and shows in the verdict.
func (d *director) takeCall(name, what string) error {
	if name == bobName {
		d.foo = true
		return nil
	}
	inOrder := what == calledCreek || what == calledSecond && slices.Contains(d.calls, calledFirst)
	d.calls = append(d.calls, what)
	if inOrder {
		return nil
	}
	return d.let(name, what)
}

// called reports whether Carol's objects got a call.
func (d *director) called(what string) func() bool {
	return func() bool { return slices.Contains(d.calls, what) }
}

// setUp starts players, who join the cluster by those addresses, and returns where they are found.
func (d *director) setUp(ctx context.Context, join []string, names ...string) (map[string]identity, error) {
	numbers := make(map[string]int)
	for _, name := range names {
		if err := d.stage.start(name); err != nil {
			return nil, err
		}
		s := &setup{Name: name, Folder: d.stage.folderOf(name), Join: join, Hold: d.hold}
		n, err := d.give(name, order{Do: doSetUp, Setup: s})
		if err != nil {
			return nil, err
		}
		numbers[name] = n
	}
	found := make(map[string]identity)
	for name, n := range numbers {
		result, err := d.outcome(ctx, n)
		if err != nil {
			return nil, err
		}
		found[name] = *result.Identity
	}
	return found, nil
}

// meet has all players wait until each finds the others.
func (d *director) meet(ctx context.Context, vats map[string]transport.VatID) error {
	return d.all(ctx, order{Do: doMeet, Vats: vats}, func(string, *done) {})
}

// all gives one order to all players and waits until each has carried it out.
func (d *director) all(ctx context.Context, o order, each func(name string, result *done)) error {
	numbers := make(map[string]int)
	for _, name := range playerNames {
		n, err := d.give(name, o)
		if err != nil {
			return err
		}
		numbers[name] = n
	}
	for _, name := range playerNames {
		result, err := d.outcome(ctx, numbers[name])
		if err != nil {
			return err
		}
		each(name, result)
	}
	return nil
}
