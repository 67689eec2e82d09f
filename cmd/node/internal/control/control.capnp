@0xa9f20b3c6e8d5174;
# What a node offers on the control socket in its data folder, as the bootstrap capability of a two-party connection
# (level 1 of rpc.capnp). Who can open the socket may do all of it.

using Go = import "/go.capnp";
using Names = import "/vat/names/names.capnp";
$Go.package("control");
$Go.import("github.com/vatwork/vatwork/cmd/node/internal/control");

interface Control {
  status @0 () -> (status :Status);

  members @1 () -> (members :List(Member));
  # Of the cluster, as this node sees it, by name. Those that have failed or left are among them for a while.

  ping @2 (member :Text) -> (found :Bool, id :Text, nanoseconds :UInt64);
  # How long a call to the member of that name took and its result. Not found: there is no such member. Fails as
  # disconnected if it does not answer.

  tree @3 () -> (json :Text);
  # The actor tree of the node's vat, as vat.Node in JSON.

  directory @4 (member :Text) -> (directory :Names.Directory, found :Bool);
  # The directory of names: the node's own if member is empty, and else the member's.

  host @5 (name :Text, overwrite :Bool) -> ();
  # Makes a greeter, an object for trying things out, and publishes it. Without overwrite it replaces nothing that this
  # node has published.

  withdraw @6 (name :Text) -> (found :Bool);
  # Withdraws a name that this node has published itself. Not found: there is none, of anyone.
}

struct Status {
  id @0 :Text;
  name @1 :Text;
  addresses @2 :List(Text);   # where vats connect
  gossip @3 :Text;
  started @4 :Int64;          # in nanoseconds since 1970
  process @5 :UInt32;
}

struct Member {
  name @0 :Text;
  id @1 :Text;
  state @2 :Text;             # alive, failed, left
  addresses @3 :List(Text);
  self @4 :Bool;              # this node
}
