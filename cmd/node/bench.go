package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	benchreport "github.com/vatwork/vatwork/bench/report"
	"github.com/vatwork/vatwork/bench/suite"
)

// allBenches is the name for one after the other.
const allBenches = "all"

// benchFlags are where the results go to besides standard output, each "" for nowhere, and how to measure.
type benchFlags struct {
	json, plot, readme string
	cfg                suite.Config
}

func newBenchCommand() *cobra.Command {
	var long strings.Builder
	long.WriteString("Measure Vatwork beside other runtimes and beside raw connections, all in this run, on loopback.\n\nNAME is one of\n")
	for _, name := range suite.Names() {
		fmt.Fprintf(&long, "  %-10s %s\n", name, suite.What(name))
	}
	fmt.Fprintf(&long, "  %-10s each of them\n", allBenches)
	var f benchFlags
	var only string
	cmd := &cobra.Command{
		Use:       "bench NAME",
		Short:     "Measure calls and handoffs beside other runtimes",
		Long:      long.String(),
		Args:      cobra.ExactArgs(1),
		ValidArgs: append(suite.Names(), allBenches),
		RunE: func(cmd *cobra.Command, args []string) error {
			if only != "" {
				var err error
				if f.cfg.Only, err = regexp.Compile(only); err != nil {
					return fmt.Errorf("--only: %w", err)
				}
			}
			return runBench(cmd.Context(), args[0], f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&f.json, "json", "", "write the rows to this `file`, as JSON")
	cmd.Flags().StringVar(&f.plot, "plot", "", "draw them into this `folder`, as SVG; it is made if it is not there")
	cmd.Flags().StringVar(&f.readme, "readme", "", "write them into this Markdown `file`, between its marks")
	cmd.Flags().StringVar(&only, "only", "", "measure only what matches this `regexp`, as the tables name it: \"x64, 2 processes (vatwork|go-capnp)\"")
	cmd.Flags().IntVar(&f.cfg.Rounds, "rounds", 5, "how often each is measured")
	cmd.Flags().DurationVar(&f.cfg.For, "for", 0, "how long each is measured in a round; 0: so that a bench takes less than two minutes")
	cmd.Flags().IntVar(&f.cfg.Many, "many", 100_000, "how many exports scale goes up to; a hundredth of that are sessions, a two-thousandth vats")
	return cmd
}

// newBenchPeerCommand is what bench starts its processes with. It is of no use to people.
func newBenchPeerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "bench-peer PART",
		Short:  "Be one of bench's processes",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			// A ctrl-C reaches the whole process group. Who measures takes it, and ends us by closing our input.
			signal.Ignore(os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
			if err := suite.Play(args[0], os.Stdin, os.Stdout); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
}

// runBench measures, and writes the results to where f says; what can be found wrong is found before.
func runBench(ctx context.Context, name string, f benchFlags, out, progress io.Writer) error {
	names := []string{name}
	if name == allBenches {
		names = suite.Names()
	} else if !slices.Contains(suite.Names(), name) {
		return fmt.Errorf("no bench is called %q; there are %s, %s", name, strings.Join(suite.Names(), ", "), allBenches)
	}
	if f.cfg.Rounds < 1 || f.cfg.For < 0 || f.cfg.Many < 1 {
		return errors.New("--rounds and --many must be 1 or more, and --for not below 0")
	}
	var page []byte
	if f.readme != "" {
		var err error
		if page, err = os.ReadFile(f.readme); err != nil {
			return err
		}
		if _, err := benchreport.Markdown(string(page), nil, "", ""); err != nil {
			return fmt.Errorf("%s: %w", f.readme, err)
		}
	}
	if f.plot != "" {
		if err := os.MkdirAll(f.plot, 0o755); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return &failure{err}
	}
	f.cfg.Command = func(part string) *exec.Cmd { return exec.Command(self, "bench-peer", part) }
	f.cfg.Progress = progress
	var rows []suite.Row
	for _, name := range names {
		more, err := suite.Run(ctx, name, f.cfg)
		if err != nil {
			return &failure{err}
		}
		rows = append(rows, more...)
		if err := benchreport.Text(out, more); err != nil {
			return &failure{err}
		}
	}
	if len(rows) == 0 {
		return fmt.Errorf("--only: nothing in %s matches %q", name, f.cfg.Only)
	}
	if err := f.write(rows, string(page)); err != nil {
		return &failure{err}
	}
	return nil
}

func (f benchFlags) write(rows []suite.Row, page string) error {
	if f.json != "" {
		file, err := os.Create(f.json)
		if err != nil {
			return err
		}
		if err := errors.Join(benchreport.JSON(file, rows), file.Close()); err != nil {
			return err
		}
	}
	if f.plot != "" {
		if err := benchreport.Plots(f.plot, rows); err != nil {
			return err
		}
	}
	if f.readme == "" {
		return nil
	}
	plots := ""
	if f.plot != "" {
		from, err := filepath.Rel(filepath.Dir(f.readme), f.plot)
		if err != nil {
			return err
		}
		plots = filepath.ToSlash(from)
	}
	page, err := benchreport.Markdown(page, rows, machine(), plots)
	if err != nil {
		return err
	}
	return os.WriteFile(f.readme, []byte(page), 0o644)
}

// machine says what the numbers were measured on.
func machine() string {
	processor := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				processor = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s, %s, on %s", processor, runtime.NumCPU(), runtime.GOOS, runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}
