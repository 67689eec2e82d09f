package main

import (
	"time"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/trace"
)

// The demo's director and its players talk over the players' standard input and output, in JSON lines: an
// order each way down, a report each way up. A player carries out its orders at the same time, but those
// the director must not mix up he gives one after the other, having seen the first one done.

// verb is what an order tells a player to do.
type verb string

const (
	doSetUp  verb = "set up" // first, once: become somebody, with Setup; the result is in Identity
	doMeet   verb = "meet"   // wait until the directory knows all of Vats
	doAct    verb = "act"    // carry out the step Step of one's part
	doLet    verb = "let"    // let the call What of an own object go on
	doTables verb = "tables" // say what is in the vat's tables
	doLeave  verb = "leave"  // close the vat and everything, then end
)

// order is one line from the director. Number tells which order a report is about.
type order struct {
	Number int                        `json:"number"`
	Do     verb                       `json:"do"`
	Setup  *setup                     `json:"setup,omitempty"`
	Vats   map[string]transport.VatID `json:"vats,omitempty"`
	Step   string                     `json:"step,omitempty"`
	What   string                     `json:"what,omitempty"`
}

// setup says who a player is.
type setup struct {
	Name   string        `json:"name"`   // alice, bob or carol
	Folder string        `json:"folder"` // the player's own, which it removes in the end
	Join   []string      `json:"join"`   // gossip addresses
	Hold   time.Duration `json:"hold"`   // bob: the delay of his link to carol
}

// report is one line from a player: exactly one of its members is there.
type report struct {
	Event  *trace.Event `json:"event,omitempty"`  // a message was sent or received
	Called string       `json:"called,omitempty"` // an object got this call, and waits for its doLet
	Done   *done        `json:"done,omitempty"`   // an order was carried out, or failed
	Lost   int          `json:"lost,omitempty"`   // so many reports did not fit the player's queue
}

// done is the outcome of an order.
type done struct {
	Number   int         `json:"number"`
	Error    string      `json:"error,omitempty"`
	Result   string      `json:"result,omitempty"` // of a step that has one
	Identity *identity   `json:"identity,omitempty"`
	Tables   *vat.Tables `json:"tables,omitempty"`
}

// identity is where the others find a player.
type identity struct {
	Vat    transport.VatID `json:"vat"`
	Gossip string          `json:"gossip"`
}

// The three players, in the order of the table.
const (
	aliceName = "alice"
	bobName   = "bob"
	carolName = "carol"
)

var playerNames = []string{aliceName, bobName, carolName}

// The steps of the parts.
const (
	stepStart         = "start"          // bob: fetch capBla from carol
	stepAsk           = "ask"            // alice: foo, and bar on its answer
	stepResolve       = "resolve"        // bob: what foo promised is carol's capBla
	stepFreeResolve   = "free resolve"   // bob: what he resolves may reach alice
	stepFreeProvided  = "free provided"  // bob: the disembargo of the provide may reach carol
	stepFreeForwarded = "free forwarded" // bob: the disembargo of the forwarded call may reach carol
	stepUse           = "use"            // alice: creek, and bar once more; the result is creek's
	stepFreeFinishes  = "free finishes"  // alice: what her accepts have let go may reach the others
	stepLetGo         = "let go"         // alice: release what she asked for last; bob: release everything
)

// What the objects are called, in the words of the reports.
const (
	firstArg, secondArg, creekArg = "first", "second", "water"

	calledFoo    = "foo"
	calledFirst  = "bar " + firstArg
	calledSecond = "bar " + secondArg
	calledCreek  = "creek " + creekArg

	wantCreekResult = creekArg + " of " + firstArg
)
