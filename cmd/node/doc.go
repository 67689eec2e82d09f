// Command vatnode runs vats from the command line.
//
//	vatnode demo [--hold 300ms] [--mermaid] [--trace FILE]
//
// plays the three-party handoff among three processes of its own and prints what was said.
//
// # What it promises
//
// Order: the exchange is printed in causal order, and what is concurrent in the order of the protocol's
// table, so that the same exchange reads the same each time.
//
// Ownership: whatever it starts or makes is gone when it ends, also when it fails or is interrupted. A
// process that it started ends by itself when the one that started it is gone.
//
// Errors: each is printed once, on standard error. The exit code is 0 when every point of the verdict
// holds, 1 when one does not or the demo could not be played, and 2 when the command line was wrong, in
// which case nothing has been started.
package main
