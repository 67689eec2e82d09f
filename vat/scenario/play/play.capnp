@0xd4b2a9c60f7e1538;
# The one interface of scenario files: each method does one thing to whoever implements it.

using Go = import "/go.capnp";
$Go.package("play");
$Go.import("github.com/vatwork/vatwork/vat/scenario/play");

struct Cargo {
  # The parameters and the results of every method.

  cap @0 :Thing;
  text @1 :Text;
  list @2 :List(Thing);
  nested @3 :Cargo;
}

interface Thing {
  foo @0 Cargo -> Cargo;
  # The capability that the vat knows by the name in text. If it knows none, a promise for one, which it
  # resolves later.

  bar @1 Cargo -> Cargo;
  # A new object, which is known by text. The results are a capability and nothing else.

  creek @2 Cargo -> Cargo;
  # What became of text.

  keep @3 Cargo -> Cargo;
  # The vat knows the capabilities in the parameters by the names in text, from now on.

  back @4 Cargo -> Cargo;
  # The capabilities in the parameters, in the same places.

  wait @5 Cargo -> Cargo;
  # Returns, with the capability in the parameters, when the gate named by text is opened. Other calls on the
  # object go on meanwhile.

  fail @6 Cargo -> Cargo;
  # Fails with text, which is the type of the exception, a colon, and its reason.

  poke @7 Cargo -> Cargo;
  # Calls creek on the capability in the parameters, and returns its result.

  tail @8 Cargo -> Cargo;
  # A tail call: text is a name, a method and a text. The vat calls that method, with that text and the capability in the
  # parameters, on what it knows by that name, and returns what the call does.

  pipe @9 Cargo -> Cargo;
  # Sets its results early, to the capability in the parameters, or that the vat knows by the second word of text. Returns
  # when the gate named by the first word is opened. Other calls on the object go on meanwhile.
}
