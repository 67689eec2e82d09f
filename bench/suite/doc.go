// Package suite measures Vatwork beside other runtimes and beside the floor, what connections alone take.
//
// A bench (see Benches) is a list of subjects: one system doing one thing in one way. All subjects of a bench are
// ready before the clock runs, and take turns: each is measured for a while in every round, so that what
// happens to the machine meanwhile happens to all of them. A row is the median of the rounds, with the least and the
// most beside it. Vats are processes of their own, unless a row says one process.
//
// # Errors
//
// A subject that fails gets a row with the error, and the others go on: peers have bugs, too. Run fails when no peer
// process can be started, or its context ends.
package suite
