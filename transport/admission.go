package transport

import (
	"context"
	"fmt"
	"io"
	"time"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// A RefusedError says that Config.Admit is against a connection with a peer.
type RefusedError struct {
	Peer   VatID
	Reason error // of Admit
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("transport: vat %s is not admitted: %v", e.Peer, e.Reason)
}

func (e *RefusedError) Unwrap() error { return e.Reason }

// admitted asks Admit about peer. Its error is a *RefusedError.
func (c Config) admitted(ctx context.Context, peer VatID) error {
	if c.Admit == nil {
		return nil
	}
	if err := c.Admit(ctx, peer); err != nil {
		return &RefusedError{peer, err}
	}
	return nil
}

// turnAway tells a peer that has said hello why it is refused, in an Abort, and gives it a moment to read that:
// closing while bytes of the peer's are unread would make TCP throw the Abort away. The caller closes the socket.
func turnAway(sock socket, conn *streamConn, why error) {
	frame, err := abortFrame(fmt.Sprintf("vat %s: %v", conn.Local().ID, why))
	// What fails from here on is the connection with someone who is hung up on in any case.
	if err != nil || sock.SetDeadline(time.Now().Add(conn.Limits().CloseGrace)) != nil {
		return
	}
	if conn.WriteFrames([][]byte{frame}) == nil && conn.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn.stream)
	}
}

func abortFrame(reason string) ([]byte, error) {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	defer msg.Release()
	root, err := rpc.NewRootMessage(seg)
	if err != nil {
		return nil, err
	}
	abort, err := root.NewAbort()
	if err != nil {
		return nil, err
	}
	abort.SetType(rpc.Exception_Type_failed)
	if err := abort.SetReason(reason); err != nil {
		return nil, err
	}
	return msg.Marshal()
}
