// Package greeting is the interface that the hello example serves and calls: generated code, made from
// greeting.capnp, and nothing else. It promises what capnpc-go promises.
package greeting

//go:generate sh -c "capnp compile -I$(go list -m -f '{{.Dir}}' capnproto.org/go/capnp/v3)/std -ogo greeting.capnp"
