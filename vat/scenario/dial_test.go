package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vatwork/vatwork/transport"
)

// How dialing may end, in a line "dials LINK HOW".
var dialings = []string{"fine", "refused", "lost", "stranger", "unknown"}

// A dialer is the network of a vat, and its directory, where dialing can be made to fail.
type dialer struct {
	transport.Network
	st   *stage
	name string
}

func (d dialer) how(peer transport.VatID) string {
	d.st.mu.Lock()
	defer d.st.mu.Unlock()
	for l, how := range d.st.dials {
		if l.from == d.name && plainID(l.to) == peer {
			return how
		}
	}
	return "fine"
}

// Dial implements transport.Network.
func (d dialer) Dial(ctx context.Context, peer transport.VatID, addrs []string) (transport.Conn, error) {
	switch d.how(peer) {
	case "refused":
		return nil, errors.New("connection refused")
	case "lost": // nothing ever comes back
		<-ctx.Done()
		return nil, ctx.Err()
	case "stranger":
		return nil, &transport.WrongVatError{Want: peer, Got: plainID("mallory")}
	}
	return d.Network.Dial(ctx, peer, addrs)
}

// Addresses implements vat.Directory.
func (d dialer) Addresses(peer transport.VatID) []string {
	if d.how(peer) == "unknown" {
		return nil
	}
	return d.st.memory.Addresses(peer)
}

// dial has the vats of a link connect in that way from now on.
func (st *stage) dial(args []string) error {
	if len(args) != 2 || !slices.Contains(dialings, args[1]) {
		return fmt.Errorf("want: dials LINK %v", dialings)
	}
	l, err := parseLink(args[0])
	st.mu.Lock()
	defer st.mu.Unlock()
	st.dials[l] = args[1]
	return err
}
