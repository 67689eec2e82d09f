package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/vatwork/vatwork/bench/suite"
)

// Text writes tables for a terminal, one for each bench.
func Text(w io.Writer, rows []suite.Row) error {
	return byBench(rows, func(bench string, rows []suite.Row) error {
		fmt.Fprintf(w, "%s: %s\n", bench, suite.What(bench))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, line := range cells(rows) {
			fmt.Fprintln(t, strings.TrimRight(strings.Join(line, "\t"), "\t"))
		}
		return t.Flush()
	})
}

// Marks between which Markdown puts what it writes.
const (
	beginMark = "<!-- results -->"
	endMark   = "<!-- end of results -->"
)

// Markdown is page with what stands between its marks replaced by a table for each bench, each with its plot if
// plots, a folder as seen from the page, is not "", and one of targets. machine says what it was measured on.
func Markdown(page string, rows []suite.Row, machine, plots string) (string, error) {
	before, rest, ok := strings.Cut(page, beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return "", fmt.Errorf("the page has no lines %q and %q to write between", beginMark, endMark)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n\nMeasured on %s.\n", before, beginMark, machine)
	_ = byBench(rows, func(bench string, rows []suite.Row) error {
		fmt.Fprintf(&b, "\n### %s: %s\n\n", bench, suite.What(bench))
		if plots != "" && len(bars(rows)) > 0 {
			fmt.Fprintf(&b, "![%s](%s/%s)\n\n", bench, plots, plotFile(bench))
		}
		writeTable(&b, cells(rows))
		return nil
	})
	if t := Targets(rows); t != nil {
		b.WriteString("\n### Targets\n\n")
		writeTable(&b, t)
	}
	b.WriteString("\n" + endMark + after)
	return b.String(), nil
}

// writeTable writes a table whose first line is its head.
func writeTable(b *strings.Builder, table [][]string) {
	for i, line := range table {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|%s\n", strings.Repeat(" --- |", len(line)))
		}
	}
}
