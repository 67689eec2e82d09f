@0xb7a1c93d5e2f4086;
# The interface of the simulation's objects.

using Go = import "/go.capnp";
$Go.package("simapi");
$Go.import("github.com/vatwork/vatwork/vat/internal/simapi");

interface Node {
  # An object of a vat that holds capabilities, hands them on, and records who calls it.
  #
  # Each capability has a height: a bound on the numbers of the promises that it can ever lead to. A promise
  # resolves to what is lower than itself, so that no promise ever leads to itself.

  note @0 (ref :UInt32, seq :UInt32, mood :Mood);
  # Records that it was called: the seq-th call on the reference ref.

  enum Mood {
    plain @0;
    slow @1;     # lets the next call begin, and takes its time
    panics @2;
    fails @3;
  }

  give @1 (node :Node, height :UInt64);
  # The vat of the object holds node from then on.

  take @2 (below :UInt64) -> (node :Node);
  # Something that the vat holds, or null if it holds nothing of that height.

  pass @3 (node :Node) -> (node :Node);
  # Its argument.

  make @4 () -> (node :Node);
  # A new object.

  late @5 (number :UInt64) -> (node :Node);
  # A promise that is resolved some time after the call has returned.

  slow @6 (below :UInt64) -> (node :Node);
  # As take, but it takes its time.

  front @7 (node :Node) -> (node :Node);
  # A new object that answers each call with a tail call of node.
}
