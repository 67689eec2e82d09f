package report

import (
	"fmt"
	"strings"

	"github.com/vatwork/vatwork/bench/suite"
)

// A target is what a number made of the rows of a run must reach.
type target struct {
	what    string
	bound   float64
	atLeast bool   // it must be bound or more; else bound or less
	unit    string // after the number
	value   func(results) (float64, bool)
}

// A place is where a number stands: whose, of which bench, how.
type place struct {
	bench, system, transport, mode string
	processes                      int
	what                           string // the case
}

type results []suite.Row

// at is the last row at p, which has not failed.
func (r results) at(p place) (found suite.Row, ok bool) {
	for _, row := range r {
		if row.Error == "" && p == (place{row.Bench, row.System, row.Transport, row.Mode, row.Processes, genus(row.Case)}) {
			found, ok = row, true
		}
	}
	return found, ok
}

// genus is a case without how many there are: the last one in a run has the most.
func genus(what string) string {
	if strings.HasSuffix(what, " exports") {
		return "a call, many exports"
	}
	return what
}

// over is f of the row at one place, divided by that at another.
func over(f func(suite.Row) float64, one, other place) func(results) (float64, bool) {
	return func(r results) (float64, bool) {
		a, ok := r.at(one)
		b, ok2 := r.at(other)
		return f(a) / f(b), ok && ok2 && f(b) > 0
	}
}

// of is f of the row at p.
func of(f func(suite.Row) float64, p place) func(results) (float64, bool) {
	return func(r results) (float64, bool) {
		row, ok := r.at(p)
		return f(row), ok
	}
}

func took(r suite.Row) float64   { return r.Micros }
func rate(r suite.Row) float64   { return r.Rate }
func cpu(r suite.Row) float64    { return r.CPU }
func allocs(r suite.Row) float64 { return r.Allocs }
func weighs(r suite.Row) float64 { return r.Bytes }
func tail(r suite.Row) float64   { return r.P99 / r.P50 }

func calls(system, transport, mode string, processes int) place {
	return place{"calls", system, transport, mode, processes, ""}
}

func trio(bench, what, mode string) place { return place{bench, "vatwork", "tcp", mode, 3, what} }

func data(system, what string) place { return place{"data", system, "tcp", "serial", 2, what} }

func scale(system, what, mode string) place { return place{"scale", system, "tcp", mode, 2, what} }

func local(system, mode string) place { return place{"local", system, "none", mode, 1, ""} }

const capnp, grpc = " × go-capnp", " × gRPC"

var targets = []target{
	{"time of a serial call, 1 process", 2.2, false, " × raw", over(took, calls("vatwork", "tcp", "serial", 1), calls("raw", "tcp", "serial", 1))},
	{"time of a serial call, 1 process", 0.6, false, capnp, over(took, calls("vatwork", "tcp", "serial", 1), calls("go-capnp", "tcp", "serial", 1))},
	{"rate with 64 outstanding, 1 process", 4, true, capnp, over(rate, calls("vatwork", "tcp", "x64", 1), calls("go-capnp", "tcp", "x64", 1))},
	{"rate with 64 outstanding, 1 process", 2.5, true, grpc, over(rate, calls("vatwork", "tcp", "x64", 1), calls("grpc", "tcp", "x64", 1))},
	{"rate with 64 outstanding, 2 processes", 4, true, capnp, over(rate, calls("vatwork", "tcp", "x64", 2), calls("go-capnp", "tcp", "x64", 2))},
	{"rate with 64 outstanding, 2 processes", 2.5, true, grpc, over(rate, calls("vatwork", "tcp", "x64", 2), calls("grpc", "tcp", "x64", 2))},
	{"rate with 256 outstanding, 2 processes", 4, true, capnp, over(rate, calls("vatwork", "tcp", "x256", 2), calls("go-capnp", "tcp", "x256", 2))},
	{"99th percentile with 64 outstanding, 1 process", 5, false, " × the median", of(tail, calls("vatwork", "tcp", "x64", 1))},
	{"99th percentile with 64 outstanding, 2 processes", 5, false, " × the median", of(tail, calls("vatwork", "tcp", "x64", 2))},
	{"allocations of a call, both ends", 24, false, "", of(allocs, calls("vatwork", "tcp", "x64", 1))},
	{"CPU of a call over TLS, 64 outstanding", 1.5, false, " × plain", over(cpu, calls("vatwork", "tls", "x64", 2), calls("vatwork", "tcp", "x64", 2))},
	{"time of a call with 64 KiB", 1, false, capnp, over(took, data("vatwork", "64 KiB"), data("go-capnp", "64 KiB"))},
	{"time of a call with 1 MiB", 1, false, capnp, over(took, data("vatwork", "1024 KiB"), data("go-capnp", "1024 KiB"))},
	{"time of a handoff with first call, serial", 1.7, false, " × a call", over(took, trio("handoff", "handoff", "serial"), trio("handoff", "call", "serial"))},
	{"rate of handoffs, 64 at once", 0.15, true, " × calls", over(rate, trio("handoff", "handoff", "x64"), trio("handoff", "call", "x64"))},
	{"time of a call after the handoff, serial", 1.05, false, " × a direct one", over(took, trio("shortened", "by the broker's capability", "serial"), trio("shortened", "direct", "serial"))},
	{"time of a call after the handoff, 64 at once", 1.05, false, " × a direct one", over(took, trio("shortened", "by the broker's capability", "x64"), trio("shortened", "direct", "x64"))},
	{"time of a call on a local object, serial", 1, false, " × server.New", over(took, local("vatwork", "serial"), local("go-capnp", "serial"))},
	{"time of a call on a local object, 64 outstanding", 1, false, " × server.New", over(took, local("vatwork", "x64"), local("go-capnp", "x64"))},
	{"time of a call with the most exports, serial", 1.2, false, " × with one", mostExports("serial")},
	{"time of a call with the most exports, 64 outstanding", 1.2, false, " × with one", mostExports("x64")},
	{"an idle object", 1500, false, " bytes", of(weighs, place{"scale", "vatwork", "none", "idle", 1, "an object"})},
	{"an idle export", 1000, false, " bytes", of(weighs, scale("vatwork", "an export", "idle"))},
}

// mostExports compares the last row of its kind with the first.
func mostExports(mode string) func(results) (float64, bool) {
	p := scale("vatwork", "a call, many exports", mode)
	return func(r results) (float64, bool) {
		most, ok := r.at(p)
		for i := range r {
			if one, first := r[i : i+1].at(p); first {
				return most.Micros / one.Micros, ok && one.Case != most.Case
			}
		}
		return 0, false
	}
}

// Targets are the lines of a table, its head first, of how far a run has come. Those that it says nothing of are left out;
// of a run without any there is no table.
func Targets(rows []suite.Row) [][]string {
	table := [][]string{{"what", "must reach", "this run", ""}}
	for _, t := range targets {
		v, ok := t.value(rows)
		if !ok {
			continue
		}
		word, reached := "at most", v <= t.bound
		if t.atLeast {
			word, reached = "at least", v >= t.bound
		}
		verdict := "missed"
		if reached {
			verdict = "reached"
		}
		table = append(table, []string{t.what, fmt.Sprintf("%s %g%s", word, t.bound, t.unit), rounded(v) + t.unit, verdict})
	}
	if len(table) == 1 {
		return nil
	}
	return table
}

func rounded(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
