package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vatwork/vatwork/vat/trace"
)

var errVerdict = errors.New("the demo failed")

// runDemo plays the scenario, has everything cleared away, and then writes what happened.
func runDemo(ctx context.Context, opts demoOptions, stdout, stderr io.Writer) error {
	p, err := perform(ctx, opts.hold)
	if err != nil {
		return err
	}
	if opts.trace != nil {
		if err := writeTrace(opts.trace, p.exchange, p.verdict); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
	}
	if opts.mermaid {
		err = errors.Join(trace.WriteMermaid(stdout, playerNames, p.exchange), writeVerdict(stderr, p.verdict))
	} else {
		err = errors.Join(writeExchange(stdout, p.exchange), writeVerdict(stdout, p.verdict))
	}
	if err != nil || p.verdict.OK {
		return err
	}
	_, err = io.WriteString(stderr, p.lastWords)
	return errors.Join(err, errVerdict)
}

// performance is what is left of a scenario that was played.
type performance struct {
	exchange  []trace.Message
	verdict   *verdict
	lastWords string // what the players logged
}

// perform plays the scenario and clears everything away. Of one that fails it returns what there was of it,
// and a verdict that says so; an error only where there is nothing to show.
func perform(ctx context.Context, hold time.Duration) (*performance, error) {
	s, err := openStage()
	if err != nil {
		return nil, err
	}
	d := newDirector(s, hold)
	played := d.play(ctx)
	if played == nil {
		played = d.leave()
	}
	played = errors.Join(played, s.close())
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	exchange, err := d.exchange()
	return &performance{exchange, judge(d, exchange, errors.Join(played, err)), s.lastWords()}, nil
}

func writeTrace(w io.Writer, exchange []trace.Message, v *verdict) error {
	out := bufio.NewWriter(w)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for _, m := range exchange {
		if err := lines.Encode(m.Line); err != nil {
			return err
		}
	}
	if err := lines.Encode(map[string]*verdict{"verdict": v}); err != nil {
		return err
	}
	return out.Flush()
}

func writeExchange(w io.Writer, exchange []trace.Message) error {
	if _, err := fmt.Fprintln(w, "row  from  -> to     message"); err != nil {
		return err
	}
	return trace.WriteText(w, exchange)
}

func writeVerdict(w io.Writer, v *verdict) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\ncreek's result:  %q\n", v.CreekResult)
	fmt.Fprintf(&b, "at Carol's:      %s\n", strings.Join(v.Deliveries, ", "))
	fmt.Fprintf(&b, "through Bob:     %d of Alice's calls after the handoff\n", v.ThroughBob)
	for _, name := range playerNames {
		state := "unknown"
		if tables, ok := v.Tables[name]; ok {
			state = tableText(tables)
			if tables.Empty() {
				state = "empty"
			}
		}
		fmt.Fprintf(&b, "%-17s%s\n", name+"'s tables:", state)
	}
	for _, f := range v.faults {
		fmt.Fprintf(&b, "FAILED: %s\n", f)
	}
	if v.OK {
		b.WriteString("all points hold\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
