// Package node is a node as `vatnode run` runs it: a vat with a key, a member of a cluster, a directory of names as its
// bootstrap, and a control socket in its data folder.
//
// [Start] makes all of it or nothing, and says what is in the way. [Node.Stop] ends it in good order: no new sessions,
// goodbye to the cluster, calls in flight are finished within a grace period.
package node
