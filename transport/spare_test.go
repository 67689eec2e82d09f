package transport

import (
	"bytes"
	"testing"
)

func TestSpareSizes(t *testing.T) {
	sizeOf := map[int]int{}
	for n := 1; n <= spareMost; n += 1 + n/100 {
		for _, n := range []int{n, n &^ (n - 1)} {
			class, size := spareClass(n)
			if class < 0 || class >= len(spares) || size < n || size > max(spareLeast, n+n/perOctave) {
				t.Fatalf("%d bytes: class %d, %d bytes", n, class, size)
			}
			if was, ok := sizeOf[class]; ok && was != size {
				t.Fatalf("class %d is of %d bytes, and of %d", class, was, size)
			}
			if again, same := spareClass(size); again != class || same != size {
				t.Fatalf("%d bytes: class %d, %d bytes; but that size: class %d, %d bytes", n, class, size, again, same)
			}
			sizeOf[class] = size
		}
	}
	if class, size := spareClass(spareMost); class != len(spares)-1 || size != spareMost {
		t.Errorf("the largest are of class %d with %d bytes", class, size)
	}
}

// Bytes of other origin, and very large ones, are not kept.
func TestSpareRefused(t *testing.T) {
	giveSpare(nil)
	giveSpare(make([]byte, 3000))
	if b := spareBytes(3000); cap(b) == 3000 {
		t.Error("bytes of a size that is no class's were kept")
	}
	giveSpare(make([]byte, 2*spareMost))
	if b := spareBytes(2 * spareMost); len(b) != 2*spareMost {
		t.Errorf("%d bytes", len(b))
	}
}

// Large messages take their memory from those that were given back, on both ends.
func TestLargeFramesReuseMemory(t *testing.T) {
	if racing {
		t.Skip("with the race detector, pools drop some of what they are given")
	}
	const frames, size = 100, 64 << 10
	one := numbered(1, size)
	r := newFrameReader(bytes.NewReader(bytes.Repeat(one, frames)), DefaultLimits())
	if got := allocated(func() {
		for range frames {
			Recycle(must(r.next()))
		}
	}); got > frames*size/4 {
		t.Errorf("reading %d frames allocated %d bytes", frames, got)
	}
	var a Actor
	if got := allocated(func() {
		for range frames {
			a.written([][]byte{append(a.Buffer(len(one)), one...)}, nil, false)
		}
	}); got > frames*size/4 {
		t.Errorf("writing %d frames allocated %d bytes", frames, got)
	}
}
