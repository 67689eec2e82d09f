// Package bench measures calls and handoffs, each beside a peer that does the same without this runtime, and
// beside what the machine itself takes.
//
//	go test -run '^$' -bench . -benchmem ./bench
//
// Everything runs in one process, over TCP on loopback in plain mode: what is measured is the runtime and the
// kernel, no TLS and no network. A time is from the caller's point of view, results read.
//
//	Echo                a frame of 128 bytes there and back, raw TCP: the floor for a serial call
//	Call/vatwork        calls one after the other, and 64 at a time
//	Call/go-capnp       the same service and client code over go-capnp's own rpc package
//	Handoff/fresh       a capability of a third vat arrives, and is called: Provide, Accept, call
//	Handoff/pipelined   the same, called before it has arrived: with embargo and Disembargo on top
//	Handoff/none        the same capability, fetched from its host without an introducer
//	Data, Stream        large calls, and a streaming method
//	Forward             a call of one vat that another answers, by a tail call where there are those
//
// For results that compare runtimes as users run them, in processes of their own, see README.md in this folder, which
// the command "vatnode bench" writes (packages suite, systems and report). The benchmarks here cover the same paths
// in the small, for profiles and for benchstat.
//
// The package has no code but its benchmarks, and a test that runs each workload once.
package bench
