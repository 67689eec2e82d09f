@0x9a41f56f797eec3c;
# The interfaces that the benchmarks call. Alice measures; Bob is the broker; Carol is the host.

using Go = import "/go.capnp";
$Go.package("wire");
$Go.import("github.com/vatwork/vatwork/bench/wire");

interface Echo {
  echo @0 (data :Data) -> (data :Data);
  # data again.

  push @1 (data :Data) -> stream;
  # Takes data in, and does nothing with it.
}

interface Host extends(Echo) {
  # Carol's bootstrap, which is an Echo itself.

  fresh @0 () -> (echo :Echo);
  # One that nobody else has.

  bla @1 () -> (bla :Bla);
  # The Bla of the scenario.
}

interface Broker extends(Echo) {
  # Bob's bootstrap, which is an Echo itself. What it gives away lives at the host.

  stock @0 (count :UInt32) -> ();
  # Fetches count fresh echoes from the host, for give.

  give @1 () -> (echo :Echo);
  # One of the stock. Fails when that is used up.

  through @2 () -> (echo :Echo);
  # The host's bootstrap itself, always the same one.

  promise @3 (number :UInt32) -> (bla :Bla);
  # A promise for the host's Bla.

  fulfill @4 (number :UInt32) -> ();
  # Resolves that promise.

  desk @5 (tail :Bool) -> (echo :Echo);
  # An Echo of the broker's own, that asks the host: by a tail call, or by a call of which it copies the results.
}

interface Member extends(Broker) {
  # The bootstrap of a vat among many, each of which is broker for another one's host.

  host @0 () -> (host :Host);
  # The host in this vat.
}

interface Bla {
  bar @0 (text :Text) -> (bar :Bar);
  # A fresh Bar. Its results are a capability and nothing else.
}

interface Bar {
  creek @0 (text :Text) -> (text :Text);
  # What bar was called with, and text.
}
