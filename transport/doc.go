// Package transport carries messages of rpc.capnp between vats: identities, connections, framing, and the
// actor by which a session uses a connection. What a message means is none of its business; the little
// that rpc.capnp leaves to the network is in vatnet.capnp, and told in WIRE.md.
//
// # Identity
//
// A vat is its Ed25519 public key: its [VatID]. Over TLS 1.3 both sides prove theirs ([ListenTLS]), and a
// dialer that reached another vat than it meant gets a [*WrongVatError] before it has shown who it is.
// In plain mode ([ListenPlain], [Memory]) a vat is believed to be who it says; its VatID is of a name space of
// its own, so it never passes for a vat of TLS. [LoadIdentity] keeps a key in a file.
//
// Config.Admit decides with whom there may be connections, in either direction. A vat that connects and is refused
// reads an Abort that says so; the refusal is logged with its VatID.
//
// # Order
//
// Frames of one connection and direction are delivered in the order in which they were written, each once,
// until the connection ends; an end cuts off a tail, never a piece out of the middle. Nothing is
// promised between connections, or between the two directions of one.
//
// Both sides send a [Hello] first. A [Conn] exists only once both have been read, so no message of
// rpc.capnp ever comes before.
//
// # Ownership
//
// WriteFrames keeps nothing of what it is given. ReadFrame gives its message away: nothing of it is used
// again. Frames sent to the [Actor] are the actor's. Connections belong to whoever got them from Dial or Accept,
// and must be closed; closing a [Network] does not close them.
//
// # Errors and bounds
//
// A peer's fault is a typed error: [*FrameError], [*HelloError], [*HandshakeError], [*WrongVatError],
// [*SlowPeerError]. None of them costs more than [Limits] allow: memory is allocated as bytes come, not as
// they are announced; unfinished handshakes are bounded in number and time; so is what is queued for a peer
// that does not read. A clean end is io.EOF, a connection that breaks within a frame, or under TLS
// without a goodbye, io.ErrUnexpectedEOF, and one that we closed net.ErrClosed.
//
// Unbounded on purpose, for tests alone, are what a [Link] or a [Valve] holds back, and what waits to be
// read in a [Memory].
//
// # Goroutines
//
// A Network over sockets has one that accepts, and one for each handshake under way; Close ends them before
// it returns. An Actor has one that reads and one that writes, neither of which ever waits for the other.
// Memory, Link and Valve have none.
package transport
