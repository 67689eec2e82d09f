package cluster

import (
	"fmt"

	"github.com/vatwork/vatwork/transport"
)

// A Cause says why an announcement was refused.
type Cause int

const (
	// Malformed: the metadata is no announcement, or exceeds a bound.
	Malformed Cause = iota
	// WrongNamespace: a plain id in a cluster of keys, or a key in a plain cluster.
	WrongNamespace
	// Forged: the vat that the announcement names did not sign it.
	Forged
	// Stale: the vat has said something newer, or something else under the same number.
	Stale
	// NameTaken: the member name is another vat's.
	NameTaken
	// Full: the directory has no room for another vat.
	Full

	causes = iota
)

var causeNames = [causes]string{
	"malformed", "wrong name space", "forged", "stale", "name taken", "directory full",
}

// String returns the cause in lower case, for logs.
func (c Cause) String() string {
	if c < 0 || int(c) >= len(causeNames) {
		return fmt.Sprintf("cause %d", int(c))
	}
	return causeNames[c]
}

// A Refusal is a peer's fault: an announcement that the directory does not take. It changes nothing but
// the count of its cause.
type Refusal struct {
	Cause  Cause
	Name   string          // of the member that carried the announcement
	ID     transport.VatID // whom it claimed to be; empty if it could not be read
	Detail string
}

// Error implements error. The member's name is quoted: a stranger chose it.
func (r *Refusal) Error() string {
	return fmt.Sprintf("cluster: announcement of %.100q (vat %s) refused: %s: %s", r.Name, r.ID.Short(), r.Cause, r.Detail)
}
