package cluster

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"capnproto.org/go/capnp/v3"
	"github.com/hashicorp/memberlist"

	"github.com/vatwork/vatwork/transport"
)

// Bounds of an announcement. A peer that exceeds one is refused.
const (
	maxMetadataBytes = memberlist.MetaMaxSize
	maxNameBytes     = 64
	maxAddresses     = 16
	maxAddressBytes  = 128
)

// signatureLabel keeps a signature made here from meaning anything elsewhere the same key signs.
const signatureLabel = "vatwork/gossip/1"

// announcement is what one start of a vat says of itself. Name and gossip address come from the member that carries
// it, the rest from its metadata. It is never changed once made.
//
// A decoded announcement is well-formed; it is true only once verify has said so.
type announcement struct {
	name      string
	gossip    netip.AddrPort
	id        transport.VatID
	addresses []string
	seq       uint64
	signature []byte
}

// statement is the byte string that is signed, as gossip.capnp lays it down. Lengths stand before texts, so
// that no two announcements share a statement.
func (a *announcement) statement() []byte {
	b := make([]byte, 0, maxMetadataBytes)
	text := func(s string) {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	text(signatureLabel)
	text(a.name)
	text(a.gossip.String())
	text(string(a.id))
	b = binary.LittleEndian.AppendUint64(b, a.seq)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(a.addresses)))
	for _, address := range a.addresses {
		text(address)
	}
	return b
}

// verify reports whether the vat itself made this announcement. Nothing is proven about a plain vat, so a
// plain announcement passes, provided that it does not pretend to carry proof.
func (a *announcement) verify() error {
	if a.id.IsPlain() {
		if len(a.signature) != 0 {
			return errors.New("a plain vat cannot sign")
		}
		return nil
	}
	key, ok := a.id.PublicKey()
	if !ok {
		return errors.New("the vat id holds no key")
	}
	if len(a.signature) != ed25519.SignatureSize {
		return fmt.Errorf("signature of %d bytes, want %d", len(a.signature), ed25519.SignatureSize)
	}
	if !ed25519.Verify(key, a.statement(), a.signature) {
		return errors.New("the signature does not match name, gossip address, addresses and seq")
	}
	return nil
}

// encode returns the metadata. The caller owns it. It does not judge the size: Start does, with advice.
func (a *announcement) encode() ([]byte, error) {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	defer msg.Release()
	root, err := NewRootAnnouncement(seg)
	if err != nil {
		return nil, err
	}
	vat, err := root.NewVat()
	if err != nil {
		return nil, err
	}
	if err := a.id.Encode(vat); err != nil {
		return nil, err
	}
	if len(a.addresses) > 0 {
		list, err := root.NewAddresses(int32(len(a.addresses)))
		if err != nil {
			return nil, err
		}
		for i, address := range a.addresses {
			if err := list.Set(i, address); err != nil {
				return nil, err
			}
		}
	}
	root.SetSeq(a.seq)
	if len(a.signature) > 0 {
		if err := root.SetSignature(a.signature); err != nil {
			return nil, err
		}
	}
	return msg.Marshal()
}

// decodeAnnouncement reads the metadata of the member called name at gossip. The bytes are a stranger's: any input
// yields a well-formed announcement or an error, at memory bounded by maxMetadataBytes. meta is not kept.
func decodeAnnouncement(name string, gossip netip.AddrPort, meta []byte) (*announcement, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if !gossip.IsValid() {
		return nil, errors.New("no gossip address")
	}
	if len(meta) > maxMetadataBytes {
		return nil, fmt.Errorf("metadata of %d bytes, at most %d are allowed", len(meta), maxMetadataBytes)
	}
	msg, err := capnp.Unmarshal(meta)
	if err != nil {
		return nil, err
	}
	defer msg.Release()
	// Lists may overlap in a hostile message; what is read in all stays near what was sent.
	msg.ResetReadLimit(16 * maxMetadataBytes)
	msg.DepthLimit = 8
	root, err := ReadRootAnnouncement(msg)
	if err != nil {
		return nil, err
	}
	a := &announcement{name: name, gossip: gossip, seq: root.Seq()}
	if err := a.decodeRoot(root); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *announcement) decodeRoot(root Announcement) error {
	vat, err := root.Vat()
	if err != nil {
		return err
	}
	if a.id, err = transport.DecodeVatID(vat); err != nil {
		return err
	}
	signature, err := root.Signature()
	if err != nil {
		return err
	}
	if len(signature) > ed25519.SignatureSize {
		return fmt.Errorf("signature of %d bytes, want %d", len(signature), ed25519.SignatureSize)
	}
	a.signature = append([]byte(nil), signature...)
	list, err := root.Addresses()
	if err != nil {
		return err
	}
	if list.Len() > maxAddresses {
		return fmt.Errorf("%d addresses, at most %d are allowed", list.Len(), maxAddresses)
	}
	for i := range list.Len() {
		address, err := list.At(i)
		if err != nil {
			return err
		}
		if err := checkAddress(address); err != nil {
			return err
		}
		a.addresses = append(a.addresses, address)
	}
	return nil
}

// checkName keeps names to what is safe in a log line and in memberlist's "name/address" notation.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxNameBytes:
		return fmt.Errorf("the name has %d bytes, at most %d are allowed", len(name), maxNameBytes)
	case !visible(name) || strings.Contains(name, "/"):
		return fmt.Errorf("the name %q has an odd character: want visible ASCII without %q", name, "/")
	}
	return nil
}

// checkAddress wants "network!address"; what that means is for the network to judge, on dialing.
func checkAddress(address string) error {
	if len(address) > maxAddressBytes {
		return fmt.Errorf("an address has %d bytes, at most %d are allowed", len(address), maxAddressBytes)
	}
	network, rest, ok := strings.Cut(address, "!")
	if !ok || network == "" || rest == "" || !visible(address) {
		return fmt.Errorf("address %q: want %q in visible ASCII, such as %q", address, "network!address", "tcp!127.0.0.1:4711")
	}
	return nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
