package scenario

import (
	"cmp"
	"net"
	"slices"
	"sync"

	"github.com/vatwork/vatwork/transport"
)

// A link is one direction between two vats.
type link struct{ from, to string }

func (l link) String() string { return l.from + ">" + l.to }

// A wire is what lies between the vats of a stage: every frame that a vat writes waits in it until the
// script delivers it, alone.
//
// States: stepping; open (frames pass at once, for the end of a script).
type wire struct {
	mu      sync.Mutex
	lanes   []*lane
	held    map[link]bool
	open    bool
	seq     int
	unseen  []sent
	corrupt func(l link, frame []byte) (forward, reply [][]byte) // nil: nothing is changed on the way
}

// sent is a frame on its way.
type sent struct {
	link  link
	seq   int
	held  bool // its link was held when it was written
	frame []byte
}

func newWire() *wire { return &wire{held: map[link]bool{}} }

// A lane is one direction of one connection. It is the transport.Conn of the vat that writes on it.
//
// States: open; closing (the vat will write no more: what is queued is followed by an end); closed.
type lane struct {
	transport.Conn
	wire *wire
	link link

	writing sync.Mutex // one frame is written to Conn at a time

	// Guarded by wire.mu.
	queue   [][]byte
	closing bool
	closed  bool
}

// wrap fits transport.Config.Wrap.
func (w *wire) wrap(c transport.Conn) transport.Conn {
	l := &lane{Conn: c, wire: w, link: link{c.Local().Name, c.Peer().Name}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes = append(w.lanes, l)
	return l
}

func (l *lane) WriteFrames(frames [][]byte) error {
	w := l.wire
	w.mu.Lock()
	if l.closed || l.closing {
		w.mu.Unlock()
		return net.ErrClosed
	}
	for _, f := range frames {
		f = slices.Clone(f)
		w.seq++
		w.unseen = append(w.unseen, sent{link: l.link, seq: w.seq, held: w.held[l.link], frame: f})
		l.queue = append(l.queue, f)
	}
	open := w.open
	w.mu.Unlock()
	if open {
		l.flush()
	}
	return nil
}

func (l *lane) CloseWrite() error {
	l.wire.mu.Lock()
	l.closing = true
	empty := len(l.queue) == 0
	l.wire.mu.Unlock()
	if empty {
		return l.Conn.CloseWrite()
	}
	return nil
}

// Close delivers what is queued first, unless the link is held: then it is lost.
func (l *lane) Close() error {
	l.wire.mu.Lock()
	held := l.wire.held[l.link]
	l.wire.mu.Unlock()
	if !held {
		l.flush()
	}
	l.wire.mu.Lock()
	l.closed = true
	l.queue = nil
	l.wire.lanes = slices.DeleteFunc(l.wire.lanes, func(x *lane) bool { return x == l })
	l.wire.mu.Unlock()
	return l.Conn.Close()
}

func (l *lane) flush() {
	for l.step() {
	}
}

// step delivers the first frame that waits, and reports whether there was one.
func (l *lane) step() bool {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.wire.mu.Lock()
	if len(l.queue) == 0 {
		l.wire.mu.Unlock()
		return false
	}
	f := l.queue[0]
	l.queue = l.queue[1:]
	end := l.closing && len(l.queue) == 0
	corrupt := l.wire.corrupt
	l.wire.mu.Unlock()

	forward, reply := [][]byte{f}, [][]byte(nil)
	if corrupt != nil {
		forward, reply = corrupt(l.link, f)
	}
	if len(reply) > 0 {
		if back := l.wire.lane(link{l.link.to, l.link.from}); back != nil {
			back.overtake(reply)
		}
	}
	if len(forward) > 0 {
		_ = l.Conn.WriteFrames(forward) // a reader that has gone is the business of the vat that writes
	}
	if end {
		_ = l.Conn.CloseWrite()
	}
	return true
}

// overtake puts frames ahead of all that wait.
func (l *lane) overtake(frames [][]byte) {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	l.queue = append(frames, l.queue...)
}

// lane is the newest connection's lane on a link.
func (w *wire) lane(on link) *lane {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range slices.Backward(w.lanes) {
		if l.link == on {
			return l
		}
	}
	return nil
}

// ready are the lanes with a frame that may be delivered now, in the order of their links' names.
func (w *wire) ready() []*lane {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lanes []*lane
	for _, l := range w.lanes {
		if len(l.queue) > 0 && !w.held[l.link] {
			lanes = append(lanes, l)
		}
	}
	slices.SortStableFunc(lanes, func(a, b *lane) int { return compareLinks(a.link, b.link) })
	return lanes
}

func compareLinks(a, b link) int {
	return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
}

// waiting is the number of frames on l that may be delivered now.
func (l *lane) waiting() int {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	return len(l.queue)
}

// fresh returns what was written since the last call, in the order of writing.
func (w *wire) fresh() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.unseen
	w.unseen = nil
	return f
}

func (w *wire) hold(l link, hold bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[l] = hold
}

// openLinks frees the links from the vat called name.
func (w *wire) openLinks(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.held {
		if l.from == name {
			w.held[l] = false
		}
	}
}

// openAll lets everything pass, now and from now on.
func (w *wire) openAll() {
	w.mu.Lock()
	w.open = true
	clear(w.held)
	lanes := slices.Clone(w.lanes)
	w.mu.Unlock()
	for _, l := range lanes {
		l.flush()
	}
}
