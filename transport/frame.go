package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"capnproto.org/go/capnp/v3"
)

const (
	wordBytes = 8

	// readBuffer is what one read from the medium can bring: many small frames.
	readBuffer = 32 << 10

	// bodyChunk is taken on a peer's mere word that a body will follow, or as much as it has once sent in one. More is
	// taken only as bytes arrive, so having us keep 64 MiB for it costs the peer that many, too.
	bodyChunk = 64 << 10

	// coalesceBytes is up to where frames are copied together for one write. Under TLS each write is at
	// least one record, and in either case a system call, which costs more than the copy.
	coalesceBytes = 64 << 10

	// rereads is how often a message may be read as a whole before its traversal limit strikes.
	rereads = 4
)

// A frameReader splits a byte stream into messages. go-capnp's Decoder is not used, because it allocates
// what a header announces before a byte of it has come.
//
// States: in step with the peer's frames; lost, after a *FrameError. It never gets back in step: where
// a bad frame ends is anybody's guess.
type frameReader struct {
	r      *bufio.Reader
	limits Limits
	lost   bool
	most   int // the largest body that has come whole

	header []byte // scratch, reused
	sizes  []int  // bytes of each segment, reused
}

func newFrameReader(r io.Reader, limits Limits) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readBuffer), limits: limits}
}

// next returns the next message; its errors are those of Conn.ReadFrame.
func (f *frameReader) next() (*capnp.Message, error) {
	if f.lost {
		if _, err := io.Copy(io.Discard, f.r); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	msg, err := f.message()
	if err != nil {
		var bad *FrameError
		f.lost = errors.As(err, &bad)
	}
	return msg, err
}

func (f *frameReader) message() (*capnp.Message, error) {
	total, err := f.readHeader()
	if err != nil {
		return nil, err
	}
	if len(f.sizes) == 1 {
		return f.single(total)
	}
	body, err := f.readBody(total)
	if err != nil {
		return nil, err
	}
	return newMessage(body, f.sizes, f.limits)
}

// readHeader leaves the segments' sizes in f.sizes and returns their sum.
func (f *frameReader) readHeader() (total int, err error) {
	f.header = grown(f.header, wordBytes)
	if _, err := io.ReadFull(f.r, f.header); err != nil {
		return 0, err // io.EOF only where not a byte came
	}
	segments := uint64(binary.LittleEndian.Uint32(f.header)) + 1
	if segments > uint64(f.limits.MaxSegments) {
		return 0, beyond("MaxSegments", f.limits.MaxSegments, "%d segments", segments)
	}
	// The number of segments and each one's size, four bytes each, padded to a word.
	headerBytes := (segments/2 + 1) * wordBytes
	if headerBytes > uint64(f.limits.MaxMessageBytes) {
		return 0, beyond("MaxMessageBytes", f.limits.MaxMessageBytes, "a header of %d bytes", headerBytes)
	}
	f.header = grown(f.header, int(headerBytes))
	if _, err := io.ReadFull(f.r, f.header[wordBytes:]); err != nil {
		return 0, noEOF(err)
	}

	f.sizes = f.sizes[:0]
	sum := headerBytes
	for i := range segments {
		size := uint64(binary.LittleEndian.Uint32(f.header[4+4*i:])) * wordBytes
		// Checked at each step: sizes are below 2^35 and the sum before was below 2^63.
		if sum += size; sum > uint64(f.limits.MaxMessageBytes) {
			return 0, beyond("MaxMessageBytes", f.limits.MaxMessageBytes, "a message of %d bytes or more", sum)
		}
		f.sizes = append(f.sizes, int(size))
	}
	if f.sizes[0] == 0 {
		return 0, &FrameError{Reason: "the first segment is empty, so there is no root"}
	}
	return int(sum - headerBytes), nil
}

// readBody reads total bytes, having taken at any time no more than bodyChunk, or most, and thrice what came.
func (f *frameReader) readBody(total int) ([]byte, error) {
	body := spareBytes(min(total, max(bodyChunk, f.most)))
	for have := 0; ; {
		n, err := io.ReadFull(f.r, body[have:])
		if err != nil {
			giveSpare(body)
			return nil, noEOF(err)
		}
		if have += n; have == total {
			f.most = max(f.most, total)
			return body, nil
		}
		bigger := spareBytes(min(total, 2*have))
		copy(bigger, body)
		giveSpare(body)
		body = bigger
	}
}

// newMessage makes a message of several segments of body, which it keeps, and which no one may change from here on.
func newMessage(body []byte, sizes []int, limits Limits) (*capnp.Message, error) {
	segments := make([][]byte, len(sizes))
	at := 0
	for i, size := range sizes {
		// The capacity is cut so that nothing can be appended to what a peer sent.
		segments[i] = body[at : at+size : at+size]
		at += size
	}
	msg, _, err := capnp.NewMessage(capnp.MultiSegment(segments))
	if err != nil {
		return nil, &FrameError{Reason: err.Error()}
	}
	msg.TraverseLimit = max(limits.TraverseBytes, rereads*uint64(len(body)))
	msg.DepthLimit = limits.MaxDepth
	// A segment is bound to its message when it is first looked up. Doing that here lets any number
	// of goroutines read the message.
	for i := range sizes {
		if _, err := msg.Segment(capnp.SegmentID(i)); err != nil {
			return nil, &FrameError{Reason: err.Error()}
		}
	}
	return msg, nil
}

// grown returns b with length n, keeping its bytes.
func grown(b []byte, n int) []byte {
	if n > cap(b) {
		return append(make([]byte, 0, n), b...)[:n]
	}
	return b[:n]
}

// noEOF is for reads within a frame, where an end is never clean.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A frameWriter writes frames in as few writes as is worth the copying.
type frameWriter struct {
	w   io.Writer
	buf []byte // empty between writes; its capacity stays at most coalesceBytes
}

func (f *frameWriter) write(frames [][]byte) error {
	if len(frames) == 1 {
		_, err := f.w.Write(frames[0])
		return err
	}
	for _, frame := range frames {
		if len(f.buf)+len(frame) > coalesceBytes {
			if err := f.flush(); err != nil {
				return err
			}
		}
		if len(frame) >= coalesceBytes {
			if _, err := f.w.Write(frame); err != nil {
				return err
			}
			continue
		}
		f.buf = append(f.buf, frame...)
	}
	return f.flush()
}

func (f *frameWriter) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.w.Write(f.buf)
	f.buf = f.buf[:0]
	return err
}
