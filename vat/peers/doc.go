// Package peers has the tests of a vat against other implementations of Cap'n Proto RPC, of level 1: go-capnp's own
// rpc, as pinned in go.mod, and the C++ library 0.9, where it is installed (Debian: capnproto, libcapnp-dev,
// g++); without it those tests are skipped and say what is missing. The program in cpp is their other
// side. The Rust library is not among them: Debian has it
// (librust-capnp-rpc-dev), but not capnpc, the crate that generates code from a schema for it, so a service cannot
// be built from Debian's packages alone.
//
// It promises nothing to anyone else, and has no code but tests.
package peers
