package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"capnproto.org/go/capnp/v3"
	rpccp "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

func readerOf(b []byte) *frameReader {
	return newFrameReader(bytes.NewReader(b), DefaultLimits())
}

// header is that of a frame whose segments have these numbers of words.
func header(words ...uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(words)-1))
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	for len(b)%wordBytes != 0 {
		b = append(b, 0)
	}
	return b
}

func TestReadFrames(t *testing.T) {
	var stream []byte
	for _, size := range []int{0, 1 << 10, bodyChunk, 5 * bodyChunk} {
		stream = append(stream, numbered(uint64(size), size)...)
	}
	// Bytes may come in any portions.
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "bytewise": iotest.OneByteReader(bytes.NewReader(stream)),
		"with EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		fr := newFrameReader(r, DefaultLimits())
		for _, size := range []int{0, 1 << 10, bodyChunk, 5 * bodyChunk} {
			msg, err := fr.next()
			if err != nil {
				t.Fatalf("%s: size %d: %v", name, size, err)
			}
			if got := number(msg); got != uint64(size) {
				t.Fatalf("%s: got %d, want %d", name, got, size)
			}
		}
		if _, err := fr.next(); err != io.EOF {
			t.Errorf("%s: at the end: %v, want io.EOF", name, err)
		}
	}
}

func TestReadSeveralSegments(t *testing.T) {
	// A far pointer to the second segment, in which the root is a struct of one word.
	body := binary.LittleEndian.AppendUint64(nil, 2|1<<32) // far, offset 0, segment 1
	body = binary.LittleEndian.AppendUint64(body, 1<<32)   // struct, right behind, one word of data
	body = binary.LittleEndian.AppendUint64(body, 42)
	msg, err := readerOf(append(header(1, 2), body...)).next()
	if err != nil {
		t.Fatal(err)
	}
	root, err := msg.Root()
	if err != nil {
		t.Fatal(err)
	}
	if got := root.Struct().Uint64(0); got != 42 {
		t.Errorf("got %d, want 42", got)
	}
}

func TestReadTruncated(t *testing.T) {
	whole := numbered(1, 100)
	for n := 1; n < len(whole); n++ {
		if _, err := readerOf(whole[:n]).next(); err != io.ErrUnexpectedEOF {
			t.Fatalf("%d of %d bytes: %v, want io.ErrUnexpectedEOF", n, len(whole), err)
		}
	}
}

func TestReadHostile(t *testing.T) {
	limits := DefaultLimits()
	overall := uint32(limits.MaxMessageBytes / wordBytes)
	for name, b := range map[string][]byte{
		"most segments":       {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0},
		"too many segments":   header(make([]uint32, limits.MaxSegments+1)...),
		"largest segment":     header(0xffffffff),
		"negative segment":    header(0x80000000),
		"just too large":      header(overall),
		"too large together":  header(overall/2, overall/2),
		"overflow of the sum": header(0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff),
		"no root":             header(0, 1),
		"nothing":             header(0),
	} {
		rest := []byte("what follows")
		fr := readerOf(append(b, rest...))
		var bad *FrameError
		if _, err := fr.next(); !errors.As(err, &bad) {
			t.Errorf("%s: %v, want *FrameError", name, err)
			continue
		}
		if _, err := fr.next(); err != io.EOF {
			t.Errorf("%s: afterwards %v, want the rest thrown away and io.EOF", name, err)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestReadAllocatesWhatComes(t *testing.T) {
	const slack = 256 << 10 // the buffer, the first chunk, and what the runtime does meanwhile
	limits := DefaultLimits()
	announced := header(uint32(limits.MaxMessageBytes/wordBytes - 1))
	for _, sent := range []int{0, 1 << 10, 1 << 20} {
		b := append(bytes.Clone(announced), make([]byte, sent)...)
		var err error
		got := allocated(func() { _, err = readerOf(b).next() })
		if err != io.ErrUnexpectedEOF {
			t.Fatalf("%v, want io.ErrUnexpectedEOF", err)
		}
		// Doubling: all the buffers ever made are twice the last, the last is at most twice what came.
		if limit := uint64(4*sent + slack); got > limit {
			t.Errorf("%d bytes of 64 MiB came: %d bytes allocated, want at most %d", sent, got, limit)
		}
	}
}

// Who has sent much in one is believed that it will again, but no more than that.
func TestReadBelievesWhatCame(t *testing.T) {
	const size, slack = 1 << 20, 256 << 10
	limits := DefaultLimits()
	announced := header(uint32(limits.MaxMessageBytes/wordBytes - 1))
	r := newFrameReader(bytes.NewReader(append(numbered(1, size), announced...)), limits)
	if _, err := r.next(); err != nil { // and it is kept
		t.Fatal(err)
	}
	var err error
	if got := allocated(func() { _, err = r.next() }); got > size+size/perOctave+slack {
		t.Errorf("%d bytes came once: %d bytes allocated for what did not come", size, got)
	}
	if err != io.ErrUnexpectedEOF {
		t.Fatalf("%v, want io.ErrUnexpectedEOF", err)
	}
}

func TestMessageCannotBeAppendedTo(t *testing.T) {
	stream := append(frame(1), frame(2)...)
	msg, err := readerOf(stream).next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := capnp.NewStruct(must(msg.Segment(0)), capnp.ObjectSize{DataSize: 8}); err == nil {
		t.Error("a struct was allocated in a message received")
	}
}

func TestWriterCoalesces(t *testing.T) {
	big := numbered(9, 2*coalesceBytes)
	for name, tc := range map[string]struct {
		frames [][]byte
		writes int
	}{
		"none":           {nil, 0},
		"one":            {[][]byte{frame(1)}, 1},
		"small ones":     {[][]byte{frame(1), frame(2), frame(3)}, 1},
		"around a big":   {[][]byte{frame(1), big, frame(2)}, 3},
		"more than fits": {[][]byte{numbered(1, coalesceBytes/2), numbered(2, coalesceBytes/2), frame(3)}, 2},
	} {
		var w countingWriter
		fw := frameWriter{w: &w}
		for range 2 { // the scratch buffer is reused
			w = countingWriter{}
			if err := fw.write(tc.frames); err != nil {
				t.Fatal(err)
			}
			if w.writes != tc.writes {
				t.Errorf("%s: %d writes, want %d", name, w.writes, tc.writes)
			}
			if all := bytes.Join(tc.frames, nil); !bytes.Equal(w.all, all) {
				t.Errorf("%s: %d bytes came out, want the %d that went in", name, len(w.all), len(all))
			}
		}
		if cap(fw.buf) > 2*coalesceBytes {
			t.Errorf("%s: keeps %d bytes", name, cap(fw.buf))
		}
	}
}

type countingWriter struct {
	writes int
	all    []byte
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	w.all = append(w.all, p...)
	return len(p), nil
}

// FuzzReadFrame feeds arbitrary bytes, and then does with the messages that come out what an engine might:
// reads all that can be reached, as far as the limits let it.
func FuzzReadFrame(f *testing.F) {
	f.Add(frame(1))
	f.Add(numbered(2, 300))
	f.Add(append(frame(1), frame(2)...))
	f.Add(header(0xffffffff))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add(append(header(1, 2), make([]byte, 24)...))
	f.Add(rpcCall())
	limits := DefaultLimits()
	limits.MaxMessageBytes = 1 << 20
	limits.TraverseBytes = 1 << 16
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := newFrameReader(bytes.NewReader(b), limits)
		used := 0
		for {
			msg, err := fr.next()
			if err != nil {
				var bad *FrameError
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &bad) {
					t.Fatalf("an error of another kind: %v", err)
				}
				return
			}
			out, err := msg.Marshal()
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			if got := b[used : used+len(out)]; !sameFrame(got, out) {
				t.Fatalf("read % x, wrote % x", got, out)
			}
			used += len(out)
			walkRPC(msg)
			if root, err := msg.Root(); err == nil {
				walk(root, 1<<12)
			}
		}
	})
}

// sameFrame compares but for the padding of the header, whose bytes mean nothing.
func sameFrame(a, b []byte) bool {
	segments := binary.LittleEndian.Uint32(a) + 1
	end := 4 + 4*segments
	body := (end + wordBytes - 1) / wordBytes * wordBytes
	return bytes.Equal(a[:end], b[:end]) && bytes.Equal(a[body:], b[body:])
}

// walk reads what p leads to, and returns what is left of budget pointers.
func walk(p capnp.Ptr, budget int) int {
	if budget--; budget <= 0 || !p.IsValid() {
		return budget
	}
	if s := p.Struct(); s.IsValid() {
		for i := range s.Size().PointerCount {
			if q, err := s.Ptr(i); err == nil {
				budget = walk(q, budget)
			}
		}
	}
	if l := p.List(); l.IsValid() {
		_ = p.Data()
		_ = p.Text()
		pointers := capnp.PointerList(l)
		for i := 0; i < l.Len() && budget > 0; i++ {
			if q, err := pointers.At(i); err == nil {
				budget = walk(q, budget)
			} else {
				budget--
			}
		}
	}
	return budget
}

// walkRPC reads it as the message that it should be.
func walkRPC(msg *capnp.Message) {
	m, err := rpccp.ReadRootMessage(msg)
	if err != nil {
		return
	}
	if m.Which() != rpccp.Message_Which_call {
		return
	}
	call, err := m.Call()
	if err != nil {
		return
	}
	params, err := call.Params()
	if err != nil {
		return
	}
	caps, err := params.CapTable()
	if err != nil {
		return
	}
	for i := range min(caps.Len(), 100) {
		_ = caps.At(i).Which()
	}
}

func rpcCall() []byte {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	m := must(rpccp.NewRootMessage(seg))
	call := must(m.NewCall())
	params := must(call.NewParams())
	caps := must(params.NewCapTable(2))
	caps.At(0).SetSenderHosted(1)
	caps.At(1).SetReceiverHosted(2)
	return must(msg.Marshal())
}
