package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/trace"
)

// lastRow is the last row of the scenario's table.
const lastRow = 20

// verdict is what the demo shows, point by point. Its JSON is the last line of the trace.
type verdict struct {
	OK          bool                  `json:"ok"` // no fault
	CreekResult string                `json:"creekResult"`
	Deliveries  []string              `json:"deliveries"` // in the order in which Carol's objects were called
	ThroughBob  int                   `json:"throughBob"` // calls of Alice's after the handoff that Bob got
	Tables      map[string]vat.Tables `json:"tables"`

	faults []string // points that do not hold, each in a sentence
}

// judge looks at what the director has taken down. played is how the playing ended.
func judge(d *director, exchange []trace.Message, played error) *verdict {
	v := &verdict{
		CreekResult: d.creekResult,
		Deliveries:  append([]string{}, d.calls...),
		ThroughBob:  throughBob(exchange),
		Tables:      d.tables,
	}
	fault := func(format string, args ...any) { v.faults = append(v.faults, fmt.Sprintf(format, args...)) }
	if played != nil {
		fault("the scenario was not played to its end: %v", played)
	}
	if v.CreekResult != wantCreekResult {
		fault("creek's result is %q, not %q", v.CreekResult, wantCreekResult)
	}
	if want := []string{calledFirst, calledSecond, calledCreek}; !slices.Equal(v.Deliveries, want) {
		fault("Carol's objects were called in the order %q, not %q", v.Deliveries, want)
	}
	if v.ThroughBob != 0 {
		fault("%d of Alice's calls after the handoff passed through Bob", v.ThroughBob)
	}
	for _, name := range playerNames {
		if tables, ok := v.Tables[name]; !ok {
			fault("nobody has seen %s's tables", name)
		} else if !tables.Empty() {
			fault("%s's tables are not empty: %s", name, tableText(tables))
		}
	}
	if missing := missingRows(exchange); len(missing) > 0 {
		fault("these rows of the table did not happen: %s", strings.Trim(fmt.Sprint(missing), "[]"))
	}
	v.OK = len(v.faults) == 0
	return v
}

// throughBob counts the calls that Alice sent to Bob behind the last disembargo of row 12; without one,
// behind row 2, after which she should have none for him.
func throughBob(exchange []trace.Message) int {
	n := 0
	for _, m := range exchange {
		switch {
		case m.From != aliceName || m.To != bobName:
		case m.Row == 2 || m.Row == 12:
			n = 0
		case m.Msg == "call":
			n++
		}
	}
	return n
}

func missingRows(exchange []trace.Message) []int {
	var missing []int
	for row := 1; row <= lastRow; row++ {
		if !slices.ContainsFunc(exchange, func(m trace.Message) bool { return m.Row == row }) {
			missing = append(missing, row)
		}
	}
	return missing
}

// tableText lists the kinds of entries by their names in the trace.
func tableText(tables vat.Tables) string {
	text, err := json.Marshal(tables)
	if err != nil {
		return err.Error() // cannot be: they are numbers
	}
	return string(text)
}
