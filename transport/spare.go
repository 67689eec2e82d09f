package transport

import (
	"math/bits"

	"github.com/colega/zeropool"
)

// Bytes that are used again come in sizes of which there are four to the octave, so that at most a fifth of one is
// unused, from spareLeast on. Larger ones than spareMost are left to the garbage collector, which also takes
// what lies here unused for long: nothing is kept for a peak that has passed.
const (
	leastOctave = 10
	mostOctave  = 22
	spareLeast  = 1 << leastOctave
	spareMost   = 1 << mostOctave
	perOctave   = 4
)

var spares [perOctave * (mostOctave - leastOctave + 1)]zeropool.Pool[[]byte]

// spareClass is the class of the sizes up to rounded, of which n is one.
func spareClass(n int) (class, rounded int) {
	n = max(n, spareLeast)
	octave := bits.Len(uint(n - 1)) // n is beyond half of 1<<octave, and within it
	step := 1 << (octave - 1) / perOctave
	steps := (n-1)/step + 1 // from perOctave+1 to twice that
	return (octave-leastOctave)*perOctave + steps - perOctave - 1, steps * step
}

// spareBytes are n bytes, which may have anything in them.
func spareBytes(n int) []byte {
	if n > spareMost {
		return make([]byte, n)
	}
	class, size := spareClass(n)
	if b := spares[class].Get(); b != nil {
		return b[:n]
	}
	return make([]byte, n, size)
}

// giveSpare takes bytes that nobody looks at any more, from spareBytes or not.
func giveSpare(b []byte) {
	if cap(b) > spareMost {
		return
	}
	if class, size := spareClass(cap(b)); cap(b) == size {
		spares[class].Put(b[:0])
	}
}
