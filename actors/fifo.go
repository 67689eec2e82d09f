package actors

// A fifo keeps its memory when it runs empty, up to keptItems: the queues of a busy session fill and empty with
// each call.
type fifo[T any] struct {
	items []T
	head  int // items before it have been taken, and are zero
}

const keptItems = 1024

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(x T) {
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		// Rather than grow for what has been taken already.
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

func (q *fifo[T]) pop() (x T) {
	x, q.items[q.head] = q.items[q.head], x
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > keptItems {
			q.items = nil
		}
	}
	return x
}

// takeAll empties q and returns what was in it.
func (q *fifo[T]) takeAll() []T {
	all := q.items[q.head:]
	q.items, q.head = nil, 0
	return all
}
