// Package actors is the actor kit of Vatwork, on top of protoactor-go: the two mailboxes that a vat is made
// of, hosts of capability objects with their supervision, workers for code that may block, and the two ways between
// plain actors and capabilities, [Ask] and [PipeTo].
//
// # Order
//
// A [Queue] hands out messages in the order in which they were enqueued, one at a time. An actor behind
// [Inline] has dealt with a message when the send returns, and deals with one at a time.
//
// # What is lost when an actor stops
//
// protoactor drops what a stopped actor's mailbox holds. A [Queue] does not: once closed it refuses new
// messages and returns those that it still holds to whoever closed it, who must answer them.
//
// # Failure
//
// A panic in an actor goes to its supervisor as protoactor has it. [StopOnFailure] stops the child and tells: an
// actor of the protocol is not restarted, since what it knew (ids that a peer holds) is gone with it. A [Host] is,
// by a [Supervisor], as its [Policy] says: its calls wait outside of what fails.
package actors
