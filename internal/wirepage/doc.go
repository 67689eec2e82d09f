// Package wirepage reads and writes the examples of transport/WIRE.md, for the tests that hold them against the code.
package wirepage
