package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/soak"
)

// soakHeading is how a report begins.
const soakHeading = "# A soak\n\nWritten by `vatnode soak --for %v --every %v --workers %d --report FILE`.\n\n" +
	`A process takes up some 10 MiB more once it has run for a while than at the start: protoactor's registry is 32,768 small maps,
each of which takes its first 288 bytes when the name of an actor first falls to it; and of provisions that are over the
last 4,096 are remembered. What is counted of a process that was killed is what it had done when it was last asked,
just before.

`

func newSoakCommand() *cobra.Command {
	var o soak.Options
	var file string
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Hand capabilities round between three processes while things break, and count what comes of it",
		Long: `Three processes hand capabilities to each other and call them. Every few seconds one of them is killed or
stopped, or a connection is cut or stalls. In the end: how many calls were answered, how many failed and why, and what
memory and goroutines there are at the start and the end. Fails if a call came twice, out of order or was not answered.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runSoak(cmd.Context(), o, file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().DurationVar(&o.For, "for", time.Minute, "how long")
	cmd.Flags().DurationVar(&o.Every, "every", 5*time.Second, "how long after one fault the next comes")
	cmd.Flags().IntVar(&o.Workers, "workers", 8, "how many callers in each process")
	cmd.Flags().StringVar(&file, "report", "", "write the report to this `file`, as Markdown")
	return cmd
}

func runSoak(ctx context.Context, o soak.Options, file string, out, log io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return &failure{err}
	}
	o.Log = log
	o.Command = func(args ...string) *exec.Cmd { return exec.Command(self, append([]string{"soak-vat"}, args...)...) }
	result, err := soak.Run(ctx, o)
	if err != nil {
		return &failure{err}
	}
	if file != "" {
		f, err := os.Create(file)
		if err == nil {
			err = errors.Join(heading(f, o), result.Write(f), f.Close())
		}
		if err != nil {
			return &failure{err}
		}
	}
	if err := result.Write(out); err != nil {
		return &failure{err}
	}
	if n := len(result.Violations); n > 0 {
		return &failure{fmt.Errorf("soak: %d things that must not be", n)}
	}
	return nil
}

func heading(w io.Writer, o soak.Options) error {
	_, err := fmt.Fprintf(w, soakHeading, o.For, o.Every, o.Workers)
	return err
}

// newSoakVatCommand is what soak starts its processes with. It is of no use to people.
func newSoakVatCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "soak-vat NAME FOLDER",
		Short:  "Be one of soak's processes",
		Args:   cobra.ExactArgs(2),
		Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			// A ctrl-C reaches the whole process group. Who soaks takes it, and ends us.
			signal.Ignore(os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
			if err := soak.Play(args[0], args[1], os.Stdin, os.Stdout); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
}
