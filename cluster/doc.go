// Package cluster knows which vats live, and where: a directory from VatID to addresses that gossip
// (memberlist) keeps up to date on every node.
//
// # What it promises
//
// Identity. A member that announces an Ed25519 id has signed what it announces: name, gossip address, vat
// addresses and a sequence number. What does not verify, or is older than what that vat has said before,
// never reaches the directory; it is counted ([Node.Refused]) and logged. Plain ids, which nobody can
// prove, are taken by nodes of plain vats alone.
//
// Names. A member name belongs to the vat that holds it. Another key gets it only when its holder has
// been gone for [NameHold]: someone who spreads a false obituary must not inherit the name.
//
// Order. OnJoin, OnFailed and OnLeave are called one at a time, on one goroutine, in the order in which
// the directory changed; the directory has changed before the call. No two are merged: a member that fails, comes
// back and fails again is reported each time. One that was started anew before anybody missed it fails and joins.
//
// Healing. Members that have failed, and those of Join, are asked again and again, one each PushPullInterval: a
// cluster that was split finds together, however long that took.
//
// Admission. An [Admission] lets members have sessions with a vat, and those on a list; one who has just joined is
// waited for. The gossip keys decide who is a member: [LoadKeys], [Node.SetKeys]. Without any, the gossip stays on
// loopback, unless Config.Open says otherwise.
//
// Failed and left. A member that said goodbye has left; one that stopped answering has failed. Either has
// no addresses until it is back. Nothing is reported about the node itself.
//
// Ownership. What a method returns is the caller's to keep and change. Config is copied at Start.
//
// # What it does not promise
//
// The directory is eventually consistent: two nodes may disagree for a few gossip intervals, and a live
// member behind a bad link may be declared failed. memberlist does not authenticate obituaries: whoever takes part in
// the gossip can have a live vat reported failed or left, until that vat refutes it. So OnFailed is not to end a
// session but to put it to the test, as Vat.Suspect does: a live peer shows itself within a round trip, and a dead
// one costs two seconds more. Nobody can have another's id appear at addresses that its key has not signed.
//
// # Errors
//
// [ConfigError] is the caller's fault and says what to do. [Refusal] is a peer's: Start returns one if this
// node's name is another vat's, all others show in the count and the log.
package cluster
