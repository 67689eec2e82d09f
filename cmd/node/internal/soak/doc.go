// Package soak runs three vats in processes of their own for a given time, has them hand capabilities to each other and
// call them, breaks something every few seconds, and counts what came of the calls.
//
// Each process plays all parts at once: its workers ask another vat for a capability, which answers with a promise or at
// once, with what it or any vat hosts, the caller's own included; they call it, pipelined and later, in numbered order.
// What breaks: a process is killed and started again, stopped for a while, a connection is cut or stalls.
//
// A run fails if a call came out of order or twice, got a wrong answer, or none in time while nothing was broken, if a
// table is not empty in the end, or if goroutines are left.
package soak
