@0xe5a1c94b70d3f826;
# The directory of names that each node of a cluster offers as its bootstrap capability.
#
# A name is held by the node at which it was published, and known to all. Whoever looks one up gets a capability that
# is handed off: calls on it go to its host, whichever node has answered.

using Go = import "/go.capnp";
$Go.package("names");
$Go.import("github.com/vatwork/vatwork/vat/names");

interface Directory {
  # What any vat gets that a node lets in. It knows for which vat it is: see publish. A vat that passes it on lets
  # others publish in its name.

  publish @0 (name :Text, cap :Capability) -> (publication :Publication);
  # Publishes cap under name, in the name of the vat for whom this directory is. Where that vat has published something
  # under the name at this node already, it is replaced. Fails if the name is another's, or is held at another node.
  #
  # When it returns, all members that could be reached know the name. It stays until it is withdrawn, whether the
  # publication is held or not.
  #
  # name has 1 to 128 bytes of printable text.

  lookup @1 (name :Text) -> (cap :Capability, entry :Entry);
  # Fails where there is no such name, and, as disconnected, where its host or the node that holds it is gone.

  describe @2 (name :Text) -> (entry :Entry);
  # What is known of a name. Its state is absent where there is none.

  list @3 () -> (entries :List(Entry));
  # All names of all nodes, ordered. Those whose host is gone are among them for a while.

  watch @4 (name :Text, watcher :Watcher) -> (watch :Watch);
  # Has watcher told what is known of a name, now and whenever that changes, until the watch is released or a call of the
  # watcher fails. Each call waits for the one before; what changes meanwhile is told as one change.

  identify @5 () -> (id :Text, name :Text);
  # Which node this is.
}

interface Publication {
  # A name, as seen by who published it. To release it withdraws nothing.

  replace @0 (cap :Capability);
  # Publishes another capability under the name. No moment is without one.

  withdraw @1 ();
  # When it returns, all members that could be reached know that the name is gone.

  ended @2 () -> (why :Text);
  # Returns when the name is this publication's no longer: withdrawn, given up as its host has been gone for too long, or
  # lost to a vat that had published it earlier, on the other side of a partition.
}

interface Watcher {
  changed @0 (entry :Entry);
}

interface Watch {
  # Releasing it ends a watch.
}

struct Entry {
  name @0 :Text;
  state @1 :State;
  holder @2 :Text;       # the id of the node that holds the name
  holderName @3 :Text;   # its member name
  publisher @4 :Text;    # the id of the vat that published it
  stamp @5 :UInt64;      # when it was first published, in nanoseconds since 1970 by the holder's clock
  version @6 :UInt64;    # grows with each change of a name at its holder
  why @7 :Text;          # where it is gone: the reason

  enum State {
    absent @0;
    live @1;
    gone @2;     # the host is
  }
}

interface Peer extends(Directory) {
  # What a node gets from another one of its cluster. These methods fail for whoever is no member.

  claim @0 (name :Text, stamp :UInt64) -> (free :Bool, reason :Text);
  # The caller is about to publish name. Not free, for the reason, where it is held here, or claimed with a smaller stamp
  # or, where stamps are the same, the smaller id. A claim that loses for this one is given up.

  tell @1 (news :News, answer :Bool) -> (news :News);
  # What has changed at the caller; and, if it asks for that, all names that are held here.

  get @2 (name :Text) -> (held :Bool, cap :Capability);
  # What is published under a name that is held here.
}

struct News {
  epoch @0 :UInt64;     # of the node that tells: names from before its last start are gone
  version @1 :UInt64;   # its latest
  complete @2 :Bool;    # there are no others
  entries @3 :List(Entry);
}
