// Package scenario runs exchanges of messages that are written down as text: see testdata, and LANGUAGE.md for
// the words. It has tests and nothing else.
//
// A file is run in two ways, both against real vats. Once with every frame delivered alone, when all is quiet,
// in an order that is the same each time: then the observed lines have to be those of the file. And many times
// with frames delivered in random order, as far as links permit that, while the vats are still busy, and with
// goroutines that yield at random: then its "must" lines have to hold. Either way it ends with all
// tables empty and no goroutine left.
package scenario
