package transport

import "fmt"

// A FrameError is a peer's fault: what it sent is no acceptable frame. The session answers with an Abort.
type FrameError struct {
	Reason string
	Limit  string // the field of Limits beyond which it goes, "" for none
}

func (e *FrameError) Error() string { return "transport: bad frame: " + e.Reason }

// beyond is the FrameError of a peer that goes beyond a limit.
func beyond(limit string, allowed int, what string, args ...any) error {
	return &FrameError{fmt.Sprintf(what, args...) + fmt.Sprintf(": Limits.%s allows %d", limit, allowed), limit}
}

// A HelloError is a peer's fault: its hello is malformed, of another version, or says what it must not.
type HelloError struct {
	Reason string
}

func (e *HelloError) Error() string { return "transport: bad hello: " + e.Reason }

// A HandshakeError is a peer's fault: what it showed in the TLS handshake proves no VatID to us.
type HandshakeError struct {
	Reason string
}

func (e *HandshakeError) Error() string { return "transport: bad TLS handshake: " + e.Reason }

// A WrongVatError says that another vat than the one meant lives at an address.
type WrongVatError struct {
	Want, Got VatID
}

func (e *WrongVatError) Error() string {
	return fmt.Sprintf("transport: reached vat %s, meant %s", e.Got, e.Want)
}

// A SlowPeerError ends a connection whose peer does not read what we send.
type SlowPeerError struct {
	Queued, Limit int // bytes
}

func (e *SlowPeerError) Error() string {
	return fmt.Sprintf("transport: the peer does not read: %d bytes are queued for it: Limits.MaxQueuedBytes allows %d", e.Queued, e.Limit)
}
