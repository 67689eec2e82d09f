// Package house holds nothing but tests: of the shape of this repository, by reading its source.
//
// They say which package may import which, that the protocol is free of clocks, sockets, randomness and
// goroutines, that every package says what it promises, and how long a file and a function may be. A test that fails
// names the file, and the rule to change if the rule is what is wrong.
package house
