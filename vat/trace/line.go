package trace

import "time"

// Line is one message of the exchange, as the trace format has it: each field is the key of the same name,
// absent from the JSON where it does not apply to the message. Other tools read the format, so keys and
// meanings are fixed. package encoding/json writes and reads it.
type Line struct {
	T    time.Time `json:"t,omitzero"`  // when it was sent
	At   time.Time `json:"at,omitzero"` // when it was received; zero: not (yet) received
	From string    `json:"from"`        // node names
	To   string    `json:"to"`
	Msg  string    `json:"msg"` // the member of rpc.capnp's Message

	// ID is the question or answer id; for a resolve the promise id, for a release the export id.
	ID     *uint32 `json:"id,omitempty"`
	Target *Target `json:"target,omitempty"` // call, provide, disembargo, join

	Interface string `json:"interface,omitempty"` // the name where its schema is registered, else 0x…
	Method    string `json:"method,omitempty"`    // the name where its schema is registered, else the ordinal
	ResultsTo string `json:"resultsTo,omitempty"` // call: caller, yourself, thirdParty

	Which string `json:"which,omitempty"` // the union member of a return or a resolve
	Caps  []Cap  `json:"caps,omitempty"`  // the cap table of a payload; of a resolve, its one capability

	// Recipient may accept what a provide provides, or gets what a call to a third party returns; of a return that
	// has the caller await another vat, that vat. Nonces of a call whose results are to be accepted are one for each
	// capability of its results, in the order of their pointers.
	Recipient  string   `json:"recipient,omitempty"`
	Nonce      string   `json:"nonce,omitempty"`
	Nonces     []string `json:"nonces,omitempty"`
	Introducer string   `json:"introducer,omitempty"` // accept: who provided; thirdPartyAnswer: who passed the call on
	By         []string `json:"by,omitempty"`         // accept: who has forwarded the contact, oldest first

	Context string `json:"context,omitempty"` // disembargo: senderLoopback, receiverLoopback, accept
	Embargo string `json:"embargo,omitempty"` // hex; of a loopback eight digits

	Count       *uint32 `json:"count,omitempty"`       // release
	ReleaseCaps *bool   `json:"releaseCaps,omitempty"` // finish: releaseResultCaps; return: releaseParamCaps
	NoFinish    *bool   `json:"noFinish,omitempty"`    // return: noFinishNeeded
	Error       string  `json:"error,omitempty"`       // reason of an exception or an abort
}

// Target is what a call, a provide or a disembargo is addressed to: either an import of the sender's, or a
// capability in the answer to a question of the sender's, at Path from the root of its results.
type Target struct {
	Import *uint32  `json:"import,omitempty"`
	Answer *uint32  `json:"answer,omitempty"`
	Path   []uint16 `json:"path,omitzero"` // not nil with an Answer
}

// Cap is one entry of a cap table. An entry of kind thirdPartyHosted has Vat, Nonce and Vine, one of kind
// none has nothing more, and the others have ID; receiverAnswer has Path beside it.
type Cap struct {
	Which string   `json:"which"`
	ID    *uint32  `json:"id,omitempty"`
	Path  []uint16 `json:"path,omitzero"`
	Vat   string   `json:"vat,omitempty"`
	Nonce string   `json:"nonce,omitempty"`
	Vine  *uint32  `json:"vine,omitempty"`

	// A contact that was forwarded has its introducer, and who has passed it on, oldest first.
	Introducer string   `json:"introducer,omitempty"`
	By         []string `json:"by,omitempty"`
}

// HasID reports whether l's id applies and is id.
func (l Line) HasID(id uint32) bool { return l.ID != nil && *l.ID == id }
