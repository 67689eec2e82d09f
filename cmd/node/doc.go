// Command vatnode runs vats from the command line.
//
//	vatnode run --name NAME --data FOLDER [--listen ADDR] [--gossip ADDR] [--join ADDR,...]
//	            [--gossip-key FILE] [--allow FILE | --open] [--config FILE] [--check] ...
//
// runs a node until it is told to stop: a vat with a key of its own, a member of a cluster, that offers a directory of
// names (package names). `vatnode run --help` lists the settings, vatnode.toml is an example of a file.
//
//	vatnode id|members|ping MEMBER|tree|names
//	vatnode publish NAME|withdraw NAME|lookup NAME|call NAME [TEXT]|watch NAME
//
// ask the node that runs on the data folder (--data, VATNODE_DATA), over a socket that is open to its owner alone, and print
// tables, or JSON with --json. What publish publishes is an object for trying things out: it greets.
//
//	vatnode demo [--hold 300ms] [--mermaid] [--trace FILE]
//
// plays the three-party handoff among three processes of its own and prints what was said. Likewise `vatnode bench NAME`
// measures calls and handoffs beside other runtimes, and `vatnode soak` hands capabilities round between processes while
// things break.
//
// # What it promises
//
// A node that is told to stop (SIGINT, SIGTERM) leaves the cluster, takes no new sessions, lets calls in flight finish for
// as long as --grace, and exits with 0. One folder has one node: the second is refused. Each member of the cluster may
// connect, besides the vats of --allow; refusals are logged with the id of the vat.
//
// Order, of the demo: the exchange is printed in causal order, and what is concurrent in the order of the protocol's
// table, so that the same exchange reads the same each time.
//
// Ownership, of the demo: whatever it starts or makes is gone when it ends, also when it fails or is interrupted. A
// process that it started ends by itself when the one that started it is gone.
//
// Errors: each is printed once, on standard error. Exit codes:
//
//	0  done; of the demo: every point of the verdict holds
//	1  failed, for the reason that is printed
//	2  the command line or the settings were wrong; nothing has been started
//	3  there is no such name, or no such member
//	4  no node runs on the data folder
//	5  what was asked for is gone, or does not answer: its host, the node that holds the name, the member
package main
