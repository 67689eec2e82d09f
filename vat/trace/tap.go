package trace

import "github.com/vatwork/vatwork/vat"

// Event reads what the tap of the vat called node saw. As in Decode, an error leaves what could be read.
func (d *Decoder) Event(node string, tapped vat.TapEvent) (Event, error) {
	line, err := d.Decode(tapped.Message)
	peer := d.vatName(tapped.Peer.ID)
	line.From, line.To = peer, node
	if tapped.Out {
		line.From, line.To = node, peer
	}
	return Event{Out: tapped.Out, At: tapped.At.UTC(), Line: line}, err
}
