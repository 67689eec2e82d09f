// Package wire has the interfaces that the benchmarks call, as they are on the wire.
package wire
