package cluster

//go:generate sh -c "capnp compile -I.. -I$(go list -m -f '{{.Dir}}' capnproto.org/go/capnp/v3)/std -ogo gossip.capnp"
