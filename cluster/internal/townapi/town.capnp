@0xb7d40f1e6a92c835;
# What nodes do for each other in the tests of a whole cluster.

using Go = import "/go.capnp";
$Go.package("townapi");
$Go.import("github.com/vatwork/vatwork/cluster/internal/townapi");

struct Receipt {
  # Says that a piece of work was done, and where.

  host @0 :Text;
  run @1 :UInt64;    # which start of the host
  serial @2 :UInt64; # counts the work of that run
  token @3 :UInt64;  # of the work
}

interface Worker {
  work @0 (token :UInt64) -> (receipt :Receipt);
  # Done at once.

  hold @1 (token :UInt64) -> (receipt :Receipt);
  # Done when the test lets it.

  tally @2 () -> (run :UInt64, done :UInt64);
  # How much work was done.
}

interface Desk {
  # Has the node make calls of its own.

  errand @0 (by :Text, name :Text, token :UInt64) -> (receipt :Receipt);
  # Looks name up at the member by, and has what it finds do work.

  pass @1 (worker :Worker, via :List(Text), token :UInt64) -> (receipt :Receipt);
  # Hands worker to the desk of the first member of via, with the others; has it work where there is none.
}
