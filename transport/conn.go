package transport

import (
	"context"
	"log/slog"

	"capnproto.org/go/capnp/v3"
)

// A Conn is an authenticated connection on which both hellos have been exchanged: what follows in each
// direction are frames, one rpc.capnp message each, in the standard stream framing, delivered in the
// order of writing, each once, until the connection ends.
//
// States: open; write side closed (CloseWrite); closed (Close, or an error). It never goes back.
type Conn interface {
	// Local is what we said. Peer is what they said: its ID is proven over TLS and claimed in plain
	// mode, its Features are those that both sides have.
	Local() Hello
	Peer() Hello

	// RemoteAddr is the other end as "tcp!127.0.0.1:4711" or "unix!/run/vat.sock". Only that of a dialed connection can be
	// dialed again: an accepted one has the port that the peer happened to call from.
	RemoteAddr() string

	// Limits are those of the network's configuration, for NewActor.
	Limits() Limits

	// WriteFrames sends encoded messages, all in one write where the medium allows. One goroutine at a
	// time; blocks while the peer does not read; keeps no reference to frames after it returns.
	// After an error the stream is unusable.
	WriteFrames(frames [][]byte) error

	// ReadFrame returns the next message, which the caller owns. One goroutine at a time. Errors:
	// io.EOF at a clean end, *FrameError for bytes that are no acceptable frame, net.ErrClosed after
	// Close, and otherwise what broke the connection (io.ErrUnexpectedEOF within a frame). A stream
	// that gave a *FrameError has lost its frames: the next call throws away all that still comes and
	// returns when the connection ends.
	ReadFrame() (*capnp.Message, error)

	// CloseWrite tells the peer that no more frames follow; reading goes on. It is to be called by the
	// goroutine that writes.
	CloseWrite() error

	// Close ends both directions and unblocks ReadFrame and WriteFrames, which then fail. Any
	// goroutine may call it, any number of times.
	Close() error
}

// A Network makes connections of one kind: TLS or plain, over sockets, or in memory. All methods may be
// called from any goroutine.
type Network interface {
	// LocalID is the vat for whom this network speaks.
	LocalID() VatID

	// Sign signs message as that vat: for contacts that are forwarded. It is nil where the vat has no key.
	// See [Identity.Sign] for how a message has to begin.
	Sign(message []byte) []byte

	// Dial connects to peer, trying addrs in order. It fails with errors.Join of the tries, each naming
	// its address; a try that reached another vat is a *WrongVatError. A peer that Config.Admit is against is
	// not dialed: *RefusedError. It is bounded by ctx, and each try by Limits.HandshakeTimeout and by an equal
	// share of the time that ctx leaves.
	Dial(ctx context.Context, peer VatID, addrs []string) (Conn, error)

	// Accept returns the next connection whose handshake is done, blocking until there is one. A slow or
	// hostile peer does not hold it up: see Limits. It fails with net.ErrClosed after Close, and only
	// then.
	Accept() (Conn, error)

	// Addrs is what to advertise, as "tcp!127.0.0.1:4711" or "unix!/run/vat.sock"; empty where nothing listens.
	Addrs() []string

	// Close stops listening and ends unfinished handshakes and connections that nobody has accepted
	// yet. It returns when all goroutines of the network have ended; connections that were handed out
	// live on. Idempotent.
	Close() error
}

// Config is common to all networks. It is copied: changes after the call have no effect.
type Config struct {
	// Name is told to peers for their logs and traces. Nothing is decided by it. May be empty.
	Name string

	// Features to offer; 0 means AllFeatures.
	Features Features

	// Epoch must grow with each start of the vat; 0 means the time of the call in nanoseconds since
	// 1970 (in memory: how often the vat of this name has been started). See NextEpoch for a clock that may be
	// set back.
	Epoch uint64

	// Limits on what peers may do; zero fields mean those of DefaultLimits.
	Limits Limits

	// Admit decides about each peer, whichever side dials: before we dial it, and when it has dialed us and proven
	// who it is (in plain mode: said so). An error keeps the connection from being made; its text is told to
	// the peer. It may wait, within ctx: for a peer that dialed it takes a place of MaxHandshakes meanwhile. It is
	// called concurrently. nil admits whoever comes.
	Admit func(ctx context.Context, peer VatID) error

	// Wrap is applied to each connection after the hellos, dialed or accepted; nil means none.
	// Handshakes run it concurrently.
	Wrap func(Conn) Conn

	// Logger hears of refused peers; nil means slog.Default.
	Logger *slog.Logger
}
