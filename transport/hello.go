package transport

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"capnproto.org/go/capnp/v3"
)

// ProtocolVersion is the version of the vat network that this package speaks.
const ProtocolVersion = 1

// helloLimits are far above any hello there is and far below what could hurt, since this much is read
// from peers who have proven little.
var helloLimits = Limits{
	MaxMessageBytes: 4 << 10,
	MaxSegments:     16,
	TraverseBytes:   16 << 10,
	MaxDepth:        8,
}

// Features are what a vat can do beyond rpc.capnp's level 1, as bits of the schema's Feature.
type Features uint64

const (
	// FeatureHandoff is Provide, Accept and Disembargo.context.accept.
	FeatureHandoff Features = 1 << Feature_handoff
	// FeatureKeptResults is Call.sendResultsTo.thirdParty with kept results, and early returns.
	FeatureKeptResults Features = 1 << Feature_keptResults
	// FeatureForwardedContacts is ToContact and ToComplete with forwards: see Introduced.
	FeatureForwardedContacts Features = 1 << Feature_forwardedContacts

	// FeatureCallForwarding is Call.sendResultsTo for others than the caller: third parties, and the callee.
	FeatureCallForwarding Features = 1 << Feature_callForwarding

	// AllFeatures is everything this version knows.
	AllFeatures = FeatureHandoff | FeatureKeptResults | FeatureForwardedContacts | FeatureCallForwarding
)

// Has reports whether every feature of x is in f.
func (f Features) Has(x Features) bool { return f&x == x }

// Hello is what a vat says of itself at the start of a connection.
type Hello struct {
	ID       VatID    // who; proven over TLS, claimed in plain mode
	Name     string   // for people only, at most MaxNameBytes of printable text; may be empty
	Features Features // what it can do
	Epoch    uint64   // grows with each start of the vat
}

// frame encodes h.
func (h Hello) frame() ([]byte, error) {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	defer msg.Release()
	wire, err := NewRootWireHello(seg)
	if err != nil {
		return nil, err
	}
	wire.SetProtocol(ProtocolVersion)
	wire.SetFeatures(uint64(h.Features))
	wire.SetEpoch(h.Epoch)
	vat, err := wire.NewVat()
	if err != nil {
		return nil, err
	}
	if err := h.ID.Encode(vat); err != nil {
		return nil, err
	}
	if err := wire.SetName(h.Name); err != nil {
		return nil, err
	}
	return msg.Marshal()
}

// decodeHello reads what a peer sent first. Errors are *HelloError.
func decodeHello(msg *capnp.Message) (Hello, error) {
	wire, err := ReadRootWireHello(msg)
	if err != nil {
		return Hello{}, &HelloError{err.Error()}
	}
	if v := wire.Protocol(); v != ProtocolVersion {
		return Hello{}, &HelloError{fmt.Sprintf("it speaks version %d of the vat network, we speak %d", v, ProtocolVersion)}
	}
	vat, err := wire.Vat()
	if err != nil {
		return Hello{}, &HelloError{err.Error()}
	}
	id, err := DecodeVatID(vat)
	if err != nil {
		return Hello{}, &HelloError{err.Error()}
	}
	name, err := wire.NameBytes()
	if err != nil {
		return Hello{}, &HelloError{err.Error()}
	}
	if err := checkName(string(name)); err != nil {
		return Hello{}, &HelloError{err.Error()}
	}
	return Hello{ID: id, Name: string(name), Features: Features(wire.Features()), Epoch: wire.Epoch()}, nil
}

// readHello reads a peer's hello and holds it against what is known of the peer: proven is the VatID that
// the medium vouches for, or "" where it vouches for none, and then only a plain id is believed. What it
// returns has the features that both sides share.
func readHello(in *frameReader, local Hello, proven VatID) (Hello, error) {
	msg, err := in.next()
	if err == io.EOF {
		// An end is clean between frames, but not before the first.
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Hello{}, fmt.Errorf("transport: no hello: %w", err)
	}
	peer, err := decodeHello(msg)
	if err != nil {
		return Hello{}, err
	}
	switch {
	case proven != "" && peer.ID != proven:
		return Hello{}, &HelloError{fmt.Sprintf("it says that it is %s, its certificate that it is %s", peer.ID, proven)}
	case proven == "" && !peer.ID.IsPlain():
		return Hello{}, &HelloError{fmt.Sprintf("it says that it is %s, which plain mode cannot prove", peer.ID)}
	case peer.ID == local.ID:
		// A session with oneself has no meaning; most likely two vats were started with one key.
		return Hello{}, &HelloError{fmt.Sprintf("it says that it is %s, as we are", peer.ID)}
	}
	peer.Features &= local.Features
	return peer, nil
}

// checkName lets through what can be printed on one line.
func checkName(name string) error {
	if len(name) > MaxNameBytes {
		return fmt.Errorf("transport: a name of %d bytes, at most %d are allowed", len(name), MaxNameBytes)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("transport: the name %q is not UTF-8", name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("transport: the name %q has the unprintable character %U", name, r)
		}
	}
	return nil
}
