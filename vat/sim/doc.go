// Package sim lets a few vats do random things to each other: hold, pass on, pipeline on, resolve and release
// references, cancel calls, panic, break connections, close. It has tests and nothing else.
//
// What a run does follows from its seed, what comes of it from the scheduler besides. The oracle promises for
// each run what package vat does: calls on one reference arrive in their order, none twice; none is lost and
// each is answered as long as nothing was broken on purpose; everything is answered; and in the end every
// table is empty, every object shut down and every goroutine gone.
//
//	go test -tags sim ./vat/sim -sim.seeds 1000         the seeds 1 to 1000
//	go test -tags sim ./vat/sim -sim.seed 17 -v         one of them, again; -sim.trace prints its messages
package sim
