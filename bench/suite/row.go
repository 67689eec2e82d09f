package suite

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Row is what was measured of one subject. Times are in microseconds.
type Row struct {
	Bench     string `json:"bench"`
	System    string `json:"system"`
	Transport string `json:"transport"`
	Mode      string `json:"mode"`      // serial, x64 for 64 at a time, and so on
	Case      string `json:"case"`      // what is done, where the bench does several things; else ""
	Processes int    `json:"processes"` // in how many the vats are

	Micros   float64 `json:"us_per_op"` // of the clock on the wall, over all that go on at a time
	Least    float64 `json:"us_per_op_min"`
	Most     float64 `json:"us_per_op_max"`
	P50      float64 `json:"p50_us"` // of one operation, from its caller's point of view
	P99      float64 `json:"p99_us"`
	Rate     float64 `json:"ops_per_s"`
	Allocs   float64 `json:"allocs_per_op"` // in all processes together
	CPU      float64 `json:"cpu_us_per_op"` // likewise
	Bytes    float64 `json:"bytes_each,omitempty"`
	Rounds   int     `json:"rounds"`
	Measured int     `json:"ops"` // over all rounds

	// Ratios of us_per_op to that of each other system in the same place; that to "raw" is the one to the floor.
	Ratios map[string]float64 `json:"ratios"`
	// Error is why there is nothing above.
	Error string `json:"error,omitempty"`
}

// What says in words what was measured, without whose it is.
func (r Row) What() string {
	what := r.Mode
	if r.Transport != "none" {
		what = fmt.Sprintf("%s, %s, %d process", r.Transport, r.Mode, r.Processes)
		if r.Processes > 1 {
			what += "es"
		}
	}
	if r.Case == "" {
		return what
	}
	return r.Case + ", " + what
}

// place is what two rows have in common that are compared.
type place struct {
	bench, transport, mode, what string
	processes                    int
}

func (r Row) place() place { return place{r.Bench, r.Transport, r.Mode, r.Case, r.Processes} }

// A round is what was measured of one subject at one time.
type round struct {
	ops       int
	wall, cpu time.Duration
	allocs    uint64
	latencies []time.Duration
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (r round) perOp() float64 { return micros(r.wall) / float64(r.ops) }

// percentile is of the latencies, which it sorts.
func (r round) percentile(p int) float64 {
	slices.Sort(r.latencies)
	return micros(r.latencies[(len(r.latencies)-1)*p/100])
}

// summed is row with the medians of the rounds, of which there is one at least, and none is empty.
func summed(row Row, rounds []round) Row {
	of := func(f func(round) float64) []float64 {
		all := make([]float64, len(rounds))
		for i, r := range rounds {
			all[i] = f(r)
		}
		slices.Sort(all)
		return all
	}
	perOp := of(round.perOp)
	row.Micros, row.Least, row.Most = median(perOp), perOp[0], perOp[len(perOp)-1]
	row.Rate = 1e6 / row.Micros
	row.P50 = median(of(func(r round) float64 { return r.percentile(50) }))
	row.P99 = median(of(func(r round) float64 { return r.percentile(99) }))
	row.Allocs = median(of(func(r round) float64 { return float64(r.allocs) / float64(r.ops) }))
	row.CPU = median(of(func(r round) float64 { return micros(r.cpu) / float64(r.ops) }))
	row.Rounds = len(rounds)
	for _, r := range rounds {
		row.Measured += r.ops
	}
	return row
}

// median is of what is sorted.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// compare fills in the ratios, and sorts the rows: what is compared stands together.
func compare(rows []Row) {
	in := map[place][]Row{}
	for _, r := range rows {
		in[r.place()] = append(in[r.place()], r)
	}
	for i := range rows {
		r := &rows[i]
		r.Ratios = map[string]float64{}
		for _, peer := range in[r.place()] {
			if peer.System != r.System && peer.Micros > 0 && r.Micros > 0 {
				r.Ratios[peer.System] = r.Micros / peer.Micros
			}
		}
	}
	first := map[place]int{}
	for i, r := range rows {
		if _, ok := first[r.place()]; !ok {
			first[r.place()] = i
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(first[a.place()], first[b.place()]) })
}
