@0xe3c81f6ab47d5c02;
# The interfaces of the three-party handoff. Alice knows Bob, Bob knows Carol, and what Alice asks Bob
# for turns out to live at Carol.

using Go = import "/go.capnp";
$Go.package("threeparty");
$Go.import("github.com/vatwork/vatwork/examples/threeparty");

interface CarolAPI {
  # Carol's bootstrap.

  capBla @0 () -> (capBla :CapBla);
  # The one CapBla that Carol hosts.
}

interface BobAPI {
  # Bob's bootstrap.

  foo @0 () -> (capBla :CapBla);
  # A CapBla. Bob answers with a promise, for it takes him a while to know which one it is.
}

interface CapBla {
  bar @0 (barArg :Text) -> (capBar :CapBar);
  # A CapBar that remembers barArg. The results are a capability and nothing else, so a vat may
  # answer with a promise before the call has reached its object: see EarlyReturns in this package.
}

interface CapBar {
  creek @0 (creekArg :Text) -> (creekResult :Text);
  # What became of creekArg, and of the barArg that made this CapBar.
}
