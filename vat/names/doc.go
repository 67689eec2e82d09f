// Package names is the directory of names of a cluster: a capability is published under a name at one node, and found
// from all. Its interface is in names.capnp; [Registry] is a node's part in it.
//
// # What it promises
//
// A name is held by the node at which it was published, in memory, and known to all others, which learn of it before
// publish returns, or, where they cannot be reached, as soon as they can. A look-up asks the node that holds the name,
// and hands on what that returns: calls go to the host.
//
// One holder. While all nodes reach each other a name is held at one of them at most, also where several
// publish it at once: each claims it from all members first, and of two claims the earlier one wins.
//
// Partitions. The halves go on: names held in the one half are shown as gone in the other, and can be published there
// anew. When they find together again every name is known everywhere, and of two that are the same the one that was
// published earlier stays; what counts is the stamp, and where that is the same the smaller id of the holder. The
// publisher of the other one is told (Publication.ended), and nothing is ever held twice for longer than the nodes need
// to tell each other.
//
// Publishers. A name can be replaced or withdrawn by the vat that published it alone, as its session has proven it,
// or by whoever that has given the Publication to. For the directory that is offered to local programs it is the node
// itself.
//
// Ends. A name whose host is gone says so for [Hold], and is given up then; until that its publisher can
// replace it. A node that fails or leaves takes its names with it: for as long the others say which node that was. A node
// that starts again begins with no names.
//
// # What it does not promise
//
// Names are not kept on disk: a capability does not outlive its host. Members trust each other with names: one that
// lies about its stamps takes the names of others. Vats that are no members publish under the stamp of the node that
// let them in.
//
// # Bounds
//
// A node holds at most [MaxNames], of which one publisher has at most [MaxNamesEach]; it serves at most [MaxWatches] for
// one vat. Members that do not answer hold up who publishes, withdraws or lists for [Patience]; a look-up waits for
// the holder of the name as long as its caller does.
package names
