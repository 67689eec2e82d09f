@0xd023d5f61027119f;
# What a vat says of itself in a cluster: the metadata of its member in memberlist, at most 512 bytes in the
# standard stream framing.
#
# A vat in another language joins a cluster by speaking memberlist (protocol version 2, label "vatwork/1")
# with this as its metadata.

using Go = import "/go.capnp";
using Net = import "/transport/vatnet.capnp";
$Go.package("cluster");
$Go.import("github.com/vatwork/vatwork/cluster");

struct Announcement {
  vat @0 :Net.VatId;
  # Who speaks. A cluster is of keys or of plain names, never of both.

  addresses @1 :List(Text);
  # Where the vat listens, each as "network!address", the best first. At most 16, of at most 128 bytes
  # each. Empty for a vat that only dials.

  seq @2 :UInt64;
  # Grows with each start of the vat. Of two announcements the one with the greater number counts; two
  # different ones with the same number are a fault, and the first stands.

  signature @3 :Data;
  # Ed25519, 64 bytes, by the key in `vat`. Empty for a plain vat. It covers these bytes, where a text is
  # its length in bytes as 32 bits, little endian, and then its UTF-8, with no terminator:
  #
  #   text      "vatwork/gossip/1"
  #   text      the member's name in memberlist
  #   text      the member's gossip address in memberlist, as "127.0.0.1:7946" or "[::1]:7946"
  #   text      the vat, as "ed25519:" and the key in 64 lower-case hexadecimal digits
  #   64 bits   seq, little endian
  #   32 bits   the number of addresses, little endian
  #   text      each address
  #
  # Name and gossip address stand in the signature, though not in this struct, so that nobody can present
  # the announcement as another member's, or keep a vat alive from a place where it is not.
}
