@0x9d2b6f0c7a31e845;
# The interface of the hello example.

using Go = import "/go.capnp";
$Go.package("greeting");
$Go.import("github.com/vatwork/vatwork/examples/hello/greeting");

interface Greeter {
  greet @0 (name :Text) -> (greeting :Text);
  # A greeting for name.
}
