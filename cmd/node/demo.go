package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// maxHold bounds --hold, and with it the demo.
const maxHold = time.Minute

// demoOptions are the flags of the demo, checked.
type demoOptions struct {
	hold    time.Duration // 0: the link is not delayed
	mermaid bool
	trace   *os.File // nil: none
}

func newDemoCommand() *cobra.Command {
	var opts demoOptions
	var tracePath string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the three-party handoff among three processes",
		Long: `Starts three processes of itself, alice, bob and carol, each with a key and a data folder of its own,
TLS on loopback, joined by gossip. Bob answers Alice with a promise, finds that what he promised lives at
Carol, and hands Alice over to her. Prints each message between them, and a verdict.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.hold < 0 || opts.hold > maxHold {
				return fmt.Errorf("--hold is %v: want a duration from 0 to %v", opts.hold, maxHold)
			}
			if cmd.Flags().Changed("trace") {
				file, err := os.Create(tracePath)
				if err != nil {
					return fmt.Errorf("--trace: %w", err)
				}
				defer file.Close()
				opts.trace = file
			}
			if err := runDemo(cmd.Context(), opts, os.Stdout, os.Stderr); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&opts.hold, "hold", 0, "delay the link from Bob to Carol by this long, from the handoff on")
	cmd.Flags().BoolVar(&opts.mermaid, "mermaid", false, "print the exchange as a Mermaid sequence diagram, and nothing else on standard output")
	cmd.Flags().StringVar(&tracePath, "trace", "", "write the exchange to this file, as JSON lines")
	return cmd
}
