// Package trace turns what the taps of several vats saw into one account of the exchange: as JSON lines for
// tools, as text for someone who has the protocol's table in hand, and as a Mermaid sequence diagram.
//
// A [Decoder] reads one message of rpc.capnp into a [Line]. An [Event] is a Line as one vat saw it, going
// out or coming in. [Pair] joins the events of all vats into messages with both ends, and [Linearize] puts
// these into one order.
//
// # Order
//
// Pairing relies on what a session promises: the k-th message that a vat sent to another is the k-th that
// the other received from it. The order of [Linearize] is causal: a message comes after all that was
// sent before it on the same link, and after all that its sender had received when it sent it. Messages
// that a vat sends to two others are concurrent, for nobody can observe which of them left first. What is
// concurrent is ordered by the row that each message has been given, so that an exchange which runs the
// same way twice is told the same way twice.
//
// # Ownership
//
// A Line holds no reference into the message that it was read from. The functions here change none of
// their arguments, except where they say so, and keep nothing.
//
// # Errors
//
// A message that cannot be read in full gives a Line of what could be read, and an error. Events that
// contradict each other (a receipt without a sending, two ends that saw different messages, an effect
// before its cause) are a [*MismatchError].
package trace
