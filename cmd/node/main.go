package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"capnproto.org/go/capnp/v3/exc"
	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/control"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotFound   = 3 // no such name, no such member
	exitNotRunning = 4 // no node runs on the data folder
	exitGone       = 5 // what was asked for is gone, or does not answer
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
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "vatnode:", err)
	return exitCodeOf(err)
}

// newRoot is vatnode with all its commands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "vatnode",
		Short:         "Run vats that hand capabilities to each other",
		SilenceErrors: true, // printed below, once
		SilenceUsage:  true,
		Args:          cobra.NoArgs, // else what is no command would get the help, and pass for right
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRunCommand(), newIDCommand(), newMembersCommand(), newPingCommand(), newTreeCommand(),
		newNamesCommand(), newPublishCommand(), newWithdrawCommand(), newLookupCommand(), newCallCommand(), newWatchCommand(),
		newDemoCommand(), newPlayCommand(), newBenchCommand(), newBenchPeerCommand(), newSoakCommand(), newSoakVatCommand())
	return root
}

func exitCodeOf(err error) int {
	if _, ok := errors.AsType[*failure](err); !ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*notFound](err); ok {
		return exitNotFound
	}
	if _, ok := errors.AsType[*control.NotRunningError](err); ok {
		return exitNotRunning
	}
	e, ok := errors.AsType[*exc.Exception](err)
	if ok && e.Type == exc.Disconnected || errors.Is(err, context.DeadlineExceeded) {
		return exitGone
	}
	return exitFailed
}
