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
  # Call.sendResultsTo.thirdParty with kept results (ToAwait.results), and early returns.
  forwardedContacts @2;
  # ToContact and ToComplete with forwards: as who is handed them, and as the host that checks them.
  callForwarding @3;
  # Call.sendResultsTo.thirdParty with ToAwait.nonce, Return.awaitFromThirdParty and ThirdPartyAnswer; and
  # Call.sendResultsTo.yourself with Return.takeFromOtherQuestion, which is of level 1, but not everywhere.
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
  mayForward @3 :Bool;
  # The host has the feature forwardedContacts, so the recipient may pass this on as it is, with one more
  # Forward, to a peer that has it too. Where it is false, he accepts, and provides anew.
  introducer @4 :VatId;
  # Forwarded: who made the introduction. Null where it is the vat at the other end of the connection.
  recipient @5 :VatId;
  # Forwarded: to whom the introduction was made, the first of those who passed it on. Else null.
  forwards @6 :List(Forward);
  # Forwarded: who passed it on to whom, oldest first, at most 8. The last is from the vat at the other end of the
  # connection to the vat at this end.
  ofCall @7 :Bool;
  # It stands for results of a call that are kept for the recipient, and that may not be there yet: then the Accept
  # returns no earlier than that call ends.
}

struct Forward {
  # One vat has passed a contact on to another: the recipient of the introduction, or of the Forward before this one.
  to @0 :VatId;
  # To whom. It may accept then, and forward in its turn.
  signature @1 :Data;
  # By whoever passes it on: Ed25519, 64 bytes, over the concatenation of
  #   the 27 ASCII bytes "vatwork/1 forwarded contact",
  #   the host, the introducer: each as one byte (0: key, 1: plain name), one byte of length, and the key or name,
  #   the nonce: 16 bytes,
  #   who passes it on, and to: each as above.
  # Empty where the ids are plain: a plain vat has no key. Ids of one contact are all keys or all plain.
}

struct ToAwait {
  # ThirdPartyToAwait: whom to expect. What the introducer tells the provider, in a Provide, or in a Call whose
  # results go to a third party; and what it tells the caller whose call it has passed on to a third party, in a Return.
  # (rpc.capnp has ThirdPartyToContact in the Call; here the Call has this, for either kind of it.)
  recipient @0 :VatId;
  # Provide, Call: the vat that may accept, or to whom the call is answered; no other, whatever it knows.
  # Return: the vat that answers. A ThirdPartyAnswer counts from that vat, or from the introducer itself, which so
  # takes the call back: the third party cannot reach the caller, or is lost.
  nonce @1 :Data;
  # Provide: 16 bytes, equal to the ToContact's. Return: 16 bytes, equal to those of the Call that was passed on.
  # Call: the same, or empty, and then there are results.
  results @2 :List(KeptResult);
  # Call: the capabilities of the results that the recipient may accept. Else empty.
  addresses @3 :List(Text);
  # Call: where the recipient may be reached, as in ToContact. Else empty.
}

struct KeptResult {
  path @0 :List(UInt16);
  # Pointer fields from the root of the results to a capability.
  nonce @1 :Data;
  # 16 bytes, to be accepted as one of a Provide would be.
}

struct ToComplete {
  # ThirdPartyCompletion: what the recipient tells the provider, in an Accept; and what the vat that answers a call
  # tells the caller, in a ThirdPartyAnswer. Whoever cannot reach the caller tells the introducer, which tells the caller.
  introducer @0 :VatId;
  # Who made the introduction, or passed the call on. Nonces are unique for each introducer only.
  nonce @1 :Data;
  # As in the ToContact.
  recipient @2 :VatId;
  # Forwarded: as in the ToContact. Else null.
  forwards @3 :List(Forward);
  # Forwarded: as in the ToContact. The last is to the vat that sends this.
}

interface Watched {
  # Every capability that a vat of this network hosts has this interface beside its own.

  untilBroken @0 () -> ();
  # Returns when the capability has broken for good, and then always with an exception that says why:
  # its object has stopped. Until then the call waits, and costs nothing but its entry in the tables. That a
  # session on the way was lost makes the call fail as any other, so the caller learns of that too.
}

interface NoOp {
  # Nobody has this interface. A caller whose calls are about to take a shorter way calls nothing the longer way, and when
  # that is answered (unimplemented, as a rule) knows that all that went before has been delivered.

  nothing @0 () -> ();
}
