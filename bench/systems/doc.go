// Package systems has the runtimes that the benchmarks compare, each behind the same few methods, so that what is
// measured differs in the runtime alone: the same objects, the same bytes, the same connections.
//
// All listen on loopback or in a folder of their own. An address that Addr returns is understood by Dial of the
// same system and transport, in any process of this machine.
package systems
