// Package sim lets a few vats do random things to each other: hold, pass on, pipeline on, resolve and release
// references, cancel calls, panic, break connections, crash and come back. It has tests and nothing else.
//
// Half of the seeds have fronts: objects that answer every call by a tail call of another object, in chains too.
//
// A run is a world, made from a plan, which follows from a seed. The engine (world, drive, object, faults) does what
// applications do and tells the oracle, which knows nothing else. The oracle promises for each run what package
// vat does: calls on one reference arrive in their order, none twice, and at one object; none is lost as long as
// nothing was broken on purpose; everything is answered; each failure is explained by a fault that was injected; and
// in the end every table is empty, every object shut down and every goroutine gone.
//
// A seed decides what the vats do, and all delays of the network. In most runs it also decides the schedule: vats have
// a dispatcher that gives each turn of a session, and each piece of what enters go-capnp, a moment of its own in
// the fake time of the run, so what runs next is the draw of the seed, and not that of the scheduler of Go. What
// is left to the latter is what happens within one such moment: goroutines of go-capnp's objects that a turn has
// woken run along with each other. So a failing seed usually fails again, and where it does not, -sim.repeat does it
// often. In the other runs ("free" in the plan) turns run as in production, on whichever goroutine posts: the
// seed decides none of that, and real preemption comes in. They are run on demand only, by -sim.free: about one in 250
// of them fails on a busy machine, and not for a second time. FINDINGS.md says as what.
//
//	go test ./vat/sim -sim.seeds 1000                the seeds 1 to 1000; -sim.first says where to begin
//	go test ./vat/sim -sim.seed 17 -v                one of them, again; -sim.trace prints its messages
//	go test ./vat/sim -run Teeth -sim.teeth 300 -v   breaks each rule of order on purpose, and counts seeds until seen
//
// FINDINGS.md tells what it has found, and how much was run.
package sim
