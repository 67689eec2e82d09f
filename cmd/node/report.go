package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vatwork/vatwork/vat/trace"
)

var errVerdict = errors.New("the demo failed")

// runDemo plays the scenario, has everything cleared away, and then writes what happened.
func runDemo(ctx context.Context, opts demoOptions, stdout, stderr io.Writer) error {
	exchange, v, err := perform(ctx, opts)
	if err != nil {
		return err
	}
	if opts.trace != nil {
		if err := writeTrace(opts.trace, exchange, v); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
	}
	if opts.mermaid {
		err = errors.Join(trace.WriteMermaid(stdout, playerNames, exchange), writeVerdict(stderr, v))
	} else {
		err = errors.Join(writeExchange(stdout, exchange), writeVerdict(stdout, v))
	}
	if err == nil && !v.OK {
		err = errVerdict
	}
	return err
}

// perform plays the scenario. Of a performance that fails it returns what there was of it, and a verdict
// that says so; an error only where there is nothing to show.
func perform(ctx context.Context, opts demoOptions) (exchange []trace.Message, v *verdict, err error) {
	s, err := openStage()
	if err != nil {
		return nil, nil, err
	}
	d := newDirector(s, opts.hold)
	played := d.play(ctx)
	if played == nil {
		played = d.leave()
	}
	played = errors.Join(played, s.close())
	if ctx.Err() != nil {
		return nil, nil, errors.New("interrupted")
	}
	exchange, err = d.exchange()
	return exchange, judge(d, exchange, errors.Join(played, err)), nil
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
