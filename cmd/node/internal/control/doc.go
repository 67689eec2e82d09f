// Package control is how the commands talk to the node that runs on the same machine: over a Unix socket in its data
// folder, which only its owner can open, in two-party Cap'n Proto RPC. The interface is in control.capnp.
//
// Errors of [Dial] are *NotRunningError where nobody listens. Others are those of the calls.
package control
