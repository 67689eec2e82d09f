@0xd1b6a2c5f0e34a97;
# The vat network of Vatwork: everything that rpc.capnp leaves to the network.
#
# A connection carries, in the standard stream framing of Cap'n Proto, one Hello each way and then
# messages of rpc.capnp. No message of rpc.capnp is sent before the peer's Hello has been read. Whom a vat does
# not admit gets an Abort as its first message, and then the end of the connection.

using Go = import "/go.capnp";
$Go.package("transport");
$Go.import("github.com/vatwork/vatwork/transport");

struct VatId {
  # Who a vat is. The two members are separate name spaces: a plain name never equals a key.
  union {
    ed25519 @0 :Data;
    # The vat's Ed25519 public key, 32 bytes. Proven by the certificate of TLS 1.3.

    plain @1 :Text;
    # The name of a vat of plain mode (loopback and tests). Nothing proves it.
  }
}

struct Hello $Go.name("WireHello") {
  # The first frame in each direction, sent at once by both sides. (The annotation names the generated Go
  # type only; it is no part of the protocol.)

  protocol @0 :UInt16;
  # Version of this vat network. 1 here; a peer that says another is refused.

  features @1 :UInt64;
  # Bits of Feature. What both sides have is in force on the connection; unknown bits are ignored.

  epoch @2 :UInt64;
  # Grows with each start of the vat: of two connections with one vat the newer epoch wins.

  vat @3 :VatId;
  # Who the sender is. Over TLS it must equal the key in the sender's certificate.

  name @4 :Text;
  # A name for people: logs and traces. Nothing is decided by it.
}

enum Feature {
  # Bit positions in Hello.features.
  handoff @0;
  # Provide, Accept and Disembargo.context.accept, as rpc.capnp has them.
  keptResults @1;
  # Call.sendResultsTo.thirdParty with RecipientOfResults, and early returns.
}

const abortIdle :Text = "idle";
# The reason of an Abort, of type disconnected, by which a vat ends a session in which neither side held anything when
# it was sent. The peer may have asked something meanwhile: that was not read, so it may ask again in a new session.
# Whoever sends it makes no new connection before the old one is closed.

struct ToContact {
  # ThirdPartyToContact: what the introducer tells the recipient. The introducer is the vat at the
  # other end of the connection on which this arrives.
  host @0 :VatId;
  # Whom to contact: the provider.
  addresses @1 :List(Text);
  # Where, each as "network!address". Empty where the introducer's directory knows the host:
  # the recipient then asks its own.
  nonce @2 :Data;
  # 16 random bytes that name the introduction.
}

struct ToAwait {
  # ThirdPartyToAwait: what the introducer tells the provider, in a Provide, or in a Call whose results
  # go to a third party.
  recipient @0 :VatId;
  # The vat that may accept; no other, whatever it knows.
  nonce @1 :Data;
  # Provide: 16 bytes, equal to the ToContact's. Call: empty.
  results @2 :List(KeptResult);
  # Call: the capabilities of the results that the recipient may accept. Provide: empty.
}

struct KeptResult {
  path @0 :List(UInt16);
  # Pointer fields from the root of the results to a capability.
  nonce @1 :Data;
  # 16 bytes, to be accepted as one of a Provide would be.
}

struct ToComplete {
  # ThirdPartyCompletion: what the recipient tells the provider, in an Accept.
  introducer @0 :VatId;
  # Who made the introduction. Nonces are unique for each introducer and recipient only.
  nonce @1 :Data;
}

interface Watched {
  # Every capability that a vat of this network hosts has this interface beside its own.

  untilBroken @0 () -> ();
  # Returns when the capability has broken for good, and then always with an exception that says why:
  # its object has stopped. Until then the call waits, and costs nothing but its entry in the tables. That a
  # session on the way was lost makes the call fail as any other, so the caller learns of that too.
}
