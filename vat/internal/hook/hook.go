package hook

import "github.com/asynkron/protoactor-go/actor"

// Hooks are what a simulation takes part in. The zero value takes part in nothing.
type Hooks struct {
	// Dispatcher, if not nil, gets all turns of sessions and objects, and what enters go-capnp: Throughput of them at a
	// time.
	Dispatcher actor.Dispatcher
	// Broken is the rule that the vat does not keep.
	Broken Rule
}

// A Network with hooks is what a vat of a simulation is given.
type Network interface{ Hooks() Hooks }

// A Rule of order that can be broken, to see whether a simulation notices.
type Rule string

// The rules, each as the way in which it is broken.
const (
	None          Rule = ""
	Gate          Rule = "gate"           // a caller looks up the road of a reference, and puts its call there some time later
	OwnMailbox    Rule = "own-mailbox"    // a Disembargo goes ahead of the calls that wait in the mailbox of its session
	Marker        Rule = "marker"         // a lifted embargo takes the short cut with calls still under way to it
	Echo          Rule = "echo"           // a call that has returned does not wait for what followed it onto another wire
	EarlyID       Rule = "early-id"       // an export's id is free before its release has been dealt with at both ends
	OneTurn       Rule = "one-turn"       // a promise that settles has its queue go on in a later turn
	AnswerTurn    Rule = "answer-turn"    // an answer that settles has its queue go on in a later turn
	PinAtOnce     Rule = "pin-at-once"    // an embargo on a promise ends at the import where that is now, and its callers follow on
	PinNever      Rule = "pin-never"      // what is pinned to a promise follows on, though a peer has been told where it ends
	Loopback      Rule = "loopback"       // a promise that resolves to an object here is called at once, without embargo
	AcceptEmbargo Rule = "accept-embargo" // a resolution is accepted without embargo
	Provision     Rule = "provision"      // an Accept returns although its embargo stands
	NewRoad       Rule = "new-road"       // what a forwarded call returned is called with calls on the old road still under way
	Direct        Rule = "direct"         // what waits for a question that has returned goes to the end of the mailbox
)

// Rules are all that can be broken.
var Rules = []Rule{Gate, OwnMailbox, Marker, Echo, EarlyID, OneTurn, AnswerTurn, PinAtOnce, PinNever, Loopback, AcceptEmbargo,
	Provision, NewRoad, Direct}
