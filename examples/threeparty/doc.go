// Package threeparty is the three-party handoff as three programs: Alice asks Bob for a capability, Bob
// answers with a promise and finds that the capability lives at Carol, and Alice ends up talking to Carol
// directly, while her calls stay in the order in which she made them. Each program takes a vat and nothing
// else of its surroundings: the three run in one process, or on three machines.
//
// # Order
//
// Carol's CapBla sees Alice's calls on it in the order in which Alice made them: the first travels by way of
// Bob, and the second, which may go to Carol directly, never overtakes it.
//
// # Ownership
//
// Bob and Alice hold capabilities from their first step until LetGo. The clients that NewBob and NewCarol
// return belong to the caller.
//
// # Errors
//
// Each step returns the error of the call that failed. A program that failed can still let go.
package threeparty

import "github.com/vatwork/vatwork/vat"

// EarlyReturns names the methods of this schema whose results are capabilities and nothing else, and
// whose Return nobody takes for an acknowledgement: a vat may answer them with promises before they are delivered.
func EarlyReturns() []vat.EarlyReturn {
	return []vat.EarlyReturn{{
		Interface: CapBla_TypeID,
		Method:    0,               // bar
		Caps:      [][]uint16{{0}}, // capBar
	}}
}
