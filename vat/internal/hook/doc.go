// Package hook is how the simulation takes part in a vat: it picks which mailbox runs next, and breaks rules of order
// to see whether it notices. A vat has hooks only where its network has them.
package hook
