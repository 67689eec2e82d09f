@0xd2c4a6f81b3e5097;
# What this implementation and others do to each other in tests. Each of them has a Peer, and a driver for the
# Peer of another.

using Go = import "/go.capnp";
$Go.package("peerapi");
$Go.import("github.com/vatwork/vatwork/vat/internal/peerapi");

interface Peer {
  echo @0 (data :Data) -> (data :Data);

  note @1 (n :UInt32);
  # Records n.

  notes @2 () -> (notes :List(UInt32));
  # What was recorded so far, in the order of the calls.

  self @3 () -> (inside :Inside);
  # A new Peer that records for itself, to pipeline on.

  struct Inside {
    name @0 :Text;
    peer @1 :Peer;
  }

  promise @4 () -> (peer :Peer);
  # Returns at once, with a promise that settle resolves.

  settle @5 (to :Peer);
  # Resolves all promises that were given out, to the argument or, where that is null, to an error, "denied".

  fail @6 (kind :UInt16, reason :Text);
  # Fails with the type of rpc.capnp's Exception that has the number kind.

  hang @7 (peer :Peer) -> (peer :Peer);
  # Calls note(1) on the argument, and does not return before it is canceled. Then it calls note(2).

  write @8 (n :UInt32) -> stream;
  # Records n; 0 fails, "bad write".

  callBack @9 (peer :Peer, n :UInt32);
  # Calls note(n) on the argument, and returns when that has.

  pass @10 (peer :Peer) -> (peer :Peer);
  # Returns the argument.

  keep @11 (peer :Peer);
  # Holds the argument in place of what it held before; null lets go.

  kept @12 () -> (peer :Peer);

  forward @13 (peer :Peer, data :Data) -> (data :Data);
  # Returns data where peer is null, and makes a tail call of forward on peer, without one, where it is not.

  twice @14 () -> (one :Peer, two :Peer);
  # One new Peer, twice.
}

interface Stranger {
  # Served by nobody.
  nothing @0 ();
}

interface Arith {
  # The service that the documentation of go-capnp, and that of Go's net/rpc, teaches with.

  multiply @0 (a :Int64, b :Int64) -> (product :Int64);
  divide @1 (num :Int64, denom :Int64) -> (quo :Int64, rem :Int64);
}
