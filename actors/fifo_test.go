package actors

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A fifo against a plain slice, through all its ways to use memory again.
func TestFifo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var q fifo[int]
	var want []int
	for i := range 100_000 {
		switch up := i/5000%2 == 0; {
		case len(want) > 0 && random.IntN(10) < map[bool]int{true: 4, false: 6}[up]:
			if got := q.pop(); got != want[0] {
				t.Fatalf("pop %d, want %d", got, want[0])
			}
			want = want[1:]
		case random.IntN(5000) == 0:
			if got := q.takeAll(); !slices.Equal(got, want) {
				t.Fatalf("takeAll %v, want %v", got, want)
			}
			want = nil
		default:
			q.push(i)
			want = append(want, i)
		}
		if q.len() != len(want) {
			t.Fatalf("len %d, want %d", q.len(), len(want))
		}
	}
	for _, left := range q.items[:q.head] {
		if left != 0 {
			t.Fatal("what was taken is still kept")
		}
	}
}

func TestFifoAllocatesNothingInUse(t *testing.T) {
	var q fifo[func()]
	f := func() {}
	if n := testing.AllocsPerRun(100, func() {
		for range 10 {
			q.push(f)
		}
		for range 10 {
			q.pop()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
