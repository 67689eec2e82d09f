@0xc0e1d2f3a4b59687;
# The interfaces of the engine's own tests.

using Go = import "/go.capnp";
$Go.package("testapi");
$Go.import("github.com/vatwork/vatwork/vat/internal/testapi");

interface Probe {
  # An object that does one small thing for each thing that a test wants to see.

  note @0 (from :UInt32, n :UInt32);
  # Records that it was called.

  echo @1 (data :Data) -> (data :Data);

  self @2 () -> (probe :Probe);
  # Another capability for itself, to pipeline on.

  keep @3 (probe :Probe);
  # Holds probe from then on.

  kept @4 () -> (probe :Probe);
  # What it holds.

  fail @5 (type :UInt16, reason :Text);
  # Fails with an exception of the type.

  wait @6 () -> (probe :Probe);
  # Returns what it holds when the test says so, or fails when the call is canceled.

  write @7 (n :UInt32) -> stream;
  # Records n, or fails if n is 0.

  pass @8 (probe :Probe) -> (probe :Probe);
  # Returns its argument.

  callBack @9 (probe :Probe, from :UInt32, n :UInt32);
  # Calls note on probe, and returns when that has.

  many @10 (probes :List(Probe), nested :Nested) -> (probes :List(Probe), nested :Nested);
  # Returns its arguments.

  struct Nested {
    text @0 :Text;
    probe @1 :Probe;
    nested @2 :Nested;
  }
}

interface Stranger {
  # An interface that nobody serves.

  nothing @0 ();
}
