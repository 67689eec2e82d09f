package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/vatwork/vatwork/bench/suite"
)

// columns of a table, and what a row has in each.
var columns = []struct {
	head string
	of   func(suite.Row) string
}{
	{"what", suite.Row.What},
	{"system", func(r suite.Row) string { return r.System }},
	{"µs/op", func(r suite.Row) string { return micros(r.Micros) }},
	{"least–most", func(r suite.Row) string { return micros(r.Least) + "–" + micros(r.Most) }},
	{"p50", func(r suite.Row) string { return micros(r.P50) }},
	{"p99", func(r suite.Row) string { return micros(r.P99) }},
	{"op/s", func(r suite.Row) string { return fmt.Sprintf("%.0f", r.Rate) }},
	{"allocs", func(r suite.Row) string { return fmt.Sprintf("%.0f", r.Allocs) }},
	{"CPU µs", func(r suite.Row) string { return micros(r.CPU) }},
	{"× raw", func(r suite.Row) string { return ratio(r, "raw") }},
	{"× go-capnp", func(r suite.Row) string { return ratio(r, "go-capnp") }},
	{"× gRPC", func(r suite.Row) string { return ratio(r, "grpc") }},
}

func micros(us float64) string {
	switch {
	case us >= 100:
		return fmt.Sprintf("%.0f", us)
	case us >= 10:
		return fmt.Sprintf("%.1f", us)
	}
	return fmt.Sprintf("%.2f", us)
}

func ratio(r suite.Row, to string) string {
	if x, ok := r.Ratios[to]; ok {
		return fmt.Sprintf("%.2f", x)
	}
	return ""
}

// cells are the head and the rows of the table of one bench. A row that was weighed, or failed, says so in its
// third column and has nothing after it.
func cells(rows []suite.Row) [][]string {
	var head []string
	for _, c := range columns {
		head = append(head, c.head)
	}
	table := [][]string{head}
	for _, r := range rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			switch {
			case i < 2:
				line[i] = c.of(r)
			case r.Error != "":
				line[2] = "failed: " + firstLine(r.Error)
			case r.Bytes > 0:
				line[2] = fmt.Sprintf("%.0f bytes", r.Bytes)
			default:
				line[i] = c.of(r)
			}
		}
		table = append(table, line)
	}
	return table
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// JSON writes all rows.
func JSON(w io.Writer, rows []suite.Row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rows)
}

// byBench calls f with the rows of each bench, in order.
func byBench(rows []suite.Row, f func(bench string, rows []suite.Row) error) error {
	for i := 0; i < len(rows); {
		j := i
		for j < len(rows) && rows[j].Bench == rows[i].Bench {
			j++
		}
		if err := f(rows[i].Bench, rows[i:j]); err != nil {
			return err
		}
		i = j
	}
	return nil
}
