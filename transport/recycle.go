package transport

import (
	"io"
	"sync"

	"capnproto.org/go/capnp/v3"
)

// smallBody is up to where the body of a message lies beside it.
const smallBody = 1 << 10

// An inFrame is a message of one segment as it came, and all that it takes: the message, its arena and its bytes.
//
// States: used (from ReadFrame on; a message that is never given to Recycle stays so, and is garbage in the end);
// spare (in inFrames).
type inFrame struct {
	capnp.ReadOnlySingleSegment // the arena; on its Release the bytes stay here
	msg                         capnp.Message
	body                        []byte // small, or of the spares
	small                       [smallBody]byte
}

var inFrames = sync.Pool{New: func() any { return new(inFrame) }}

// single reads the body of a message of one segment.
func (f *frameReader) single(total int) (msg *capnp.Message, err error) {
	in := inFrames.Get().(*inFrame)
	if total <= smallBody {
		in.body = in.small[:total]
		_, err = io.ReadFull(f.r, in.body)
	} else {
		in.body, err = f.readBody(total)
	}
	if err != nil {
		return nil, noEOF(err)
	}
	in.ReplaceData(in.body)
	in.msg.TraverseLimit, in.msg.DepthLimit = max(f.limits.TraverseBytes, rereads*uint64(total)), f.limits.MaxDepth
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
// A message of other origin it leaves as it is, and says so.
func Recycle(msg *capnp.Message) (taken bool) {
	in, ok := msg.Arena.(*inFrame)
	if !ok {
		return false
	}
	msg.Release()
	if racing {
		for i := range in.body {
			in.body[i] = 0xdb // who reads it still is found out
		}
	}
	if len(in.body) > smallBody {
		giveSpare(in.body)
	}
	in.body = nil
	inFrames.Put(in)
	return true
}
