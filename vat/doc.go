// Package vat is the runtime: a vat of Cap'n Proto RPC, level 3, as a supervised actor system.
//
// It serves and calls what capnpc-go generates, unchanged: hosts are servers of go-capnp, references are
// capnp.Client. Capabilities that one vat passes to another are handed off, so that the recipient talks to
// the host directly; towards peers that cannot do that they are proxied.
package vat
