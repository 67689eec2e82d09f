package transport

import (
	"io"
	"sync"

	"capnproto.org/go/capnp/v3"
)

// smallBody is up to where the body of a message of one segment lies in memory that is used again.
const smallBody = 1 << 10

// An inFrame is a small message as it came, and all that it takes: the message, its arena and its bytes.
//
// States: used (from ReadFrame on; a message that is never given to Recycle stays so, and is garbage in the end);
// spare (in inFrames).
type inFrame struct {
	capnp.ReadOnlySingleSegment // the arena; on its Release the bytes stay here
	msg                         capnp.Message
	body                        [smallBody]byte
}

var inFrames = sync.Pool{New: func() any { return new(inFrame) }}

// small reads the body of a message of one segment.
func (f *frameReader) small(total int) (*capnp.Message, error) {
	in := inFrames.Get().(*inFrame)
	body := in.body[:total:total]
	if _, err := io.ReadFull(f.r, body); err != nil {
		return nil, noEOF(err)
	}
	in.ReplaceData(body)
	in.msg.TraverseLimit, in.msg.DepthLimit = max(f.limits.TraverseBytes, rereads*smallBody), f.limits.MaxDepth
	// Reset looks the segment up, which binds it to its message: so any number of goroutines may read.
	if _, err := in.msg.Reset(in); err != nil {
		return nil, &FrameError{Reason: err.Error()}
	}
	return &in.msg, nil
}

// Recycle takes back a message that ReadFrame returned, once, for its memory to be used again: neither the message
// nor anything read from it may be looked at from then on. It releases the capabilities in the message's table,
// which may enter code that is not ours. To recycle a message is never an obligation.
//
// A message of other origin it releases as well, and says so: its memory is the caller's.
func Recycle(msg *capnp.Message) (taken bool) {
	in, ok := msg.Arena.(*inFrame)
	msg.Release()
	if !ok {
		return false
	}
	if racing {
		for i := range in.body {
			in.body[i] = 0xdb // who reads it still is found out
		}
	}
	inFrames.Put(in)
	return true
}
