package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// A failure is an error of something that was started, as opposed to a wrong command line.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func main() { os.Exit(run(os.Args[1:])) }

// run carries out a command line and returns the exit code. It lets go of everything when the process is told to end.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root := &cobra.Command{
		Use:           "vatnode",
		Short:         "Run vats that hand capabilities to each other",
		SilenceErrors: true, // printed below, once
		SilenceUsage:  true,
		Args:          cobra.NoArgs, // else what is no command would get the help, and pass for right
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDemoCommand(), newPlayCommand(), newBenchCommand(), newBenchPeerCommand())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "vatnode:", err)
	if _, ok := errors.AsType[*failure](err); ok {
		return exitFailed
	}
	return exitUsage
}
