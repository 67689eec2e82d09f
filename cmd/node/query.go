package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"capnproto.org/go/capnp/v3/exc"
	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/config"
	"github.com/vatwork/vatwork/cmd/node/internal/control"
)

// notFound is the error for a name or member that there is not.
type notFound struct{ what string }

func (e *notFound) Error() string { return e.what }

// A query is a command that asks the node of this machine.
type query struct {
	data    string
	json    bool
	timeout time.Duration
	out     io.Writer

	connection *control.Connection // while it asks
}

// command makes a command of what asks the node. Its errors are failures, those of its arguments apart.
func (q *query) command(use, short, long string, args cobra.PositionalArgs, ask func(ctx context.Context, node control.Control, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  args,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.out = cmd.OutOrStdout()
			if q.data == "" {
				q.data = os.Getenv(config.Env("data"))
			}
			if q.data == "" {
				return fmt.Errorf("--data is missing: the data folder of the node to ask (or %s)", config.Env("data"))
			}
			if err := q.connect(cmd.Context(), func(ctx context.Context, node control.Control) error { return ask(ctx, node, args) }); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&q.data, "data", "", "data folder of the node to ask")
	cmd.Flags().DurationVar(&q.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	return cmd
}

// withJSON gives a command the flag --json.
func (q *query) withJSON(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON")
	return cmd
}

func (q *query) connect(ctx context.Context, ask func(context.Context, control.Control) error) error {
	c, err := control.Dial(ctx, q.data)
	if err != nil {
		return err
	}
	q.connection = c
	err = ask(ctx, c.Control)
	if closed := c.Close(); err == nil {
		err = closed
	}
	return err
}

// bounded is for one answer.
func (q *query) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, q.timeout, fmt.Errorf("no answer within %v: %w", q.timeout, context.DeadlineExceeded))
}

// plain is the error of a call as a person is told: without the name of the method, which go-capnp puts in front.
func plain(err error) error {
	if e, ok := err.(*exc.Exception); ok { // the outermost alone has it
		if cause := errors.Unwrap(e.Cause); cause != nil {
			return &exc.Exception{Type: e.Type, Cause: cause}
		}
	}
	return err
}

// print prints value as JSON, or rows as a table under a heading.
func (q *query) print(value any, heading string, rows func(line func(...any))) error {
	if q.json {
		enc := json.NewEncoder(q.out)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	w := tabwriter.NewWriter(q.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	})
	return w.Flush()
}

// result waits for the results of a call.
func result[T any](answer interface{ Struct() (T, error) }, release func(), use func(T) error) error {
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return plain(err)
	}
	return use(res)
}
