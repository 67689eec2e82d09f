package transport

import "time"

// Limits bound what a peer can make us spend. A zero field means that of DefaultLimits.
type Limits struct {
	// MaxMessageBytes is the largest frame accepted, its header included. A peer that announces more
	// gets a *FrameError before anything is allocated for it.
	MaxMessageBytes int

	// MaxSegments is the largest number of segments of a frame.
	MaxSegments int

	// TraverseBytes limits reading through the pointers of a message received, against pointers that all
	// lead to the same bytes (capnp.Message.TraverseLimit). A message larger than a quarter of it gets
	// four times its own size.
	TraverseBytes uint64

	// MaxDepth limits how deep pointers of a message received may nest (capnp.Message.DepthLimit).
	MaxDepth uint

	// HandshakeTimeout is how long a peer may take from connecting to the end of its hello, and how
	// long each address of a Dial may take.
	HandshakeTimeout time.Duration

	// MaxHandshakes is how many accepted connections may be unfinished, or finished and not yet fetched
	// by Accept. Where all places are taken, one that has been there for a tenth of HandshakeTimeout
	// gives way to a newcomer, so that peers who connect and stay silent lock nobody out.
	MaxHandshakes int

	// MaxQueuedBytes is how much the transport actor queues for a peer that does not read. Beyond it
	// the connection ends with a *SlowPeerError: sessions never stop reading, so nothing else bounds
	// what they answer. What is queued lies in memory up to a quarter larger.
	MaxQueuedBytes int

	// CloseGrace is how long the transport actor waits, after an Abort or a failed write, for the peer to end
	// its side.
	CloseGrace time.Duration

	// KeepAlive is how long a connection of TCP may be silent before the system asks the other end whether
	// it is still there, and then how long each of three probes may stay unanswered before the connection
	// is broken: a peer whose machine is gone is found out after four times KeepAlive. On Linux so is one that
	// does not take what was sent to it for that long, be it for its network or for not reading. Negative:
	// never asked.
	KeepAlive time.Duration
}

// DefaultLimits are Cap'n Proto's customary ones, and generous waits.
func DefaultLimits() Limits {
	return Limits{
		MaxMessageBytes:  64 << 20,
		MaxSegments:      512,
		TraverseBytes:    64 << 20,
		MaxDepth:         64,
		HandshakeTimeout: 10 * time.Second,
		MaxHandshakes:    128,
		MaxQueuedBytes:   256 << 20,
		CloseGrace:       time.Second,
		KeepAlive:        15 * time.Second,
	}
}

// withDefaults fills zero fields. A negative one counts as zero: a limit cannot be switched off, but for KeepAlive.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.MaxMessageBytes <= 0 {
		l.MaxMessageBytes = d.MaxMessageBytes
	}
	if l.MaxSegments <= 0 {
		l.MaxSegments = d.MaxSegments
	}
	if l.TraverseBytes == 0 {
		l.TraverseBytes = d.TraverseBytes
	}
	if l.MaxDepth == 0 {
		l.MaxDepth = d.MaxDepth
	}
	if l.HandshakeTimeout <= 0 {
		l.HandshakeTimeout = d.HandshakeTimeout
	}
	if l.MaxHandshakes <= 0 {
		l.MaxHandshakes = d.MaxHandshakes
	}
	if l.MaxQueuedBytes <= 0 {
		l.MaxQueuedBytes = d.MaxQueuedBytes
	}
	if l.CloseGrace <= 0 {
		l.CloseGrace = d.CloseGrace
	}
	if l.KeepAlive == 0 {
		l.KeepAlive = d.KeepAlive
	}
	return l
}
