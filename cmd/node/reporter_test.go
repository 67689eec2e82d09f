package main

import (
	"encoding/json"
	"io"
	"testing"
)

// A reader that is slow holds nobody up: what does not fit is dropped, and the reader learns how much it was.
func TestReporterNeverBlocks(t *testing.T) {
	out, in := io.Pipe()
	r := newReporter(in)
	const said = 2 * maxReports
	for range said {
		r.say(report{Called: calledCreek})
	}
	go func() {
		r.close()
		in.Close()
	}()
	read, lost := 0, 0
	lines := json.NewDecoder(out)
	for {
		var rep report
		if err := lines.Decode(&rep); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		lost += rep.Lost
		if rep.Called == calledCreek {
			read++
		}
	}
	if lost == 0 || read+lost != said {
		t.Errorf("%d read and %d lost of %d", read, lost, said)
	}
}
