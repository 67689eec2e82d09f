// Package peerapi has the interfaces of the tests against other implementations of Cap'n Proto RPC. It
// promises nothing to anyone else.
package peerapi
