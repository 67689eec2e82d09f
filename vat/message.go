package vat

import (
	"encoding/binary"
	"sync"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

var messages = sync.Pool{New: func() any { return new(capnp.Message) }}

// newMessage starts a message of rpc.capnp in memory that grows as needed.
func newMessage() rpc.Message {
	return must(rpc.NewRootMessage(newSegment()))
}

// newSegment is the first of a message.
func newSegment() *capnp.Segment {
	msg := messages.Get().(*capnp.Message)
	msg.TraverseLimit, msg.DepthLimit = 0, 0
	return must(msg.Reset(capnp.SingleSegment(nil)))
}

// recycle takes back a message, ours or a peer's, once, for its memory to be used again: nothing of it may be looked
// at from then on. Its capabilities are released, so unless there are none, it is not for turns (see [Vat.later]). A
// message that is never recycled is garbage in the end, and no harm done.
func recycle(msg *capnp.Message) {
	if transport.Recycle(msg) {
		return
	}
	if seg, err := msg.Segment(0); err == nil && cap(seg.Data()) > pooledArena {
		msg.Arena = nil // before it is released
	}
	msg.Release()
	messages.Put(msg)
}

// pooledArena is the most that go-capnp keeps of an arena that is released. What is larger it clears all the same, twice,
// which takes longer than everything else that happens to a large message, and leaves it to the garbage collector.
const pooledArena = 512 << 10

// recycleLater is recycle for turns.
func (v *Vat) recycleLater(msg *capnp.Message) {
	if msg.CapTable().Len() == 0 {
		recycle(msg)
		return
	}
	v.later(func() {
		v.empty(msg)
		recycle(msg)
	})
}

// resetLater releases the capabilities of msg, off any turn.
func (v *Vat) resetLater(msg *capnp.Message) {
	if msg.CapTable().Len() > 0 {
		v.later(func() { v.empty(msg) })
	}
}

// appendFrame appends m, encoded for the wire, to b.
func appendFrame(b []byte, m *capnp.Message) []byte {
	if m.NumSegments() != 1 {
		return append(b, must(m.Marshal())...)
	}
	data := must(m.Segment(0)).Data()
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)/8)<<32) // one segment, of so many words
	return append(b, data...)
}

// descriptorBytes is set aside for the descriptor of each capability: a contact with a few addresses.
const descriptorBytes = 512

// tooLarge says why m, which has all but the descriptors of its capabilities, cannot be sent; nil if it can.
func (s *session) tooLarge(m *capnp.Message, what string) error {
	size, err := m.TotalSize()
	if err != nil {
		return failed("%s without a size: %v", what, err)
	}
	if err := s.exportRoom(m.CapTable().Len()); err != nil {
		return err
	}
	size += uint64(1+m.CapTable().Len()) * descriptorBytes
	if limit := s.vat.limits.MessageBytes; size > uint64(limit) {
		s.vat.exceeded("MessageBytes")
		return failed("%s of %d bytes are too large for a message, of which %d may be used: Limits.MessageBytes", what, size, limit)
	}
	return nil
}

// must is for building our own messages: allocating in a message of ours fails only by a mistake of ours,
// for which the turn fails and the session ends.
func must[T any](v T, err error) T {
	check(err)
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// wireTarget is MessageTarget as it stands in a message.
type wireTarget struct {
	onAnswer bool
	id       uint32 // of the import, or of the answer
	path     []capnp.PipelineOp
}

func (t wireTarget) encode(m rpc.MessageTarget) {
	if !t.onAnswer {
		m.SetImportedCap(t.id)
		return
	}
	pa := must(m.NewPromisedAnswer())
	pa.SetQuestionId(t.id)
	if len(t.path) == 0 {
		return // null, not an empty list: the C++ library insists where a Provide is meant
	}
	ops := must(pa.NewTransform(int32(len(t.path))))
	for i, op := range t.path {
		ops.At(i).SetGetPointerField(op.Field)
	}
}

func decodeTarget(m rpc.MessageTarget, err error) (wireTarget, error) {
	if err != nil {
		return wireTarget{}, fault("unreadable target: %v", err)
	}
	switch m.Which() {
	case rpc.MessageTarget_Which_importedCap:
		return wireTarget{id: m.ImportedCap()}, nil
	case rpc.MessageTarget_Which_promisedAnswer:
		pa, err := m.PromisedAnswer()
		if err != nil {
			return wireTarget{}, fault("unreadable target: %v", err)
		}
		path, err := decodePath(pa)
		return wireTarget{onAnswer: true, id: pa.QuestionId(), path: path}, err
	}
	return wireTarget{}, fault("target of unknown kind %d", m.Which())
}

func decodePath(pa rpc.PromisedAnswer) ([]capnp.PipelineOp, error) {
	ops, err := pa.Transform()
	if err != nil {
		return nil, fault("unreadable transform: %v", err)
	}
	var path []capnp.PipelineOp
	for i := range ops.Len() {
		switch op := ops.At(i); op.Which() {
		case rpc.PromisedAnswer_Op_Which_noop:
		case rpc.PromisedAnswer_Op_Which_getPointerField:
			path = append(path, capnp.PipelineOp{Field: op.GetPointerField()})
		default:
			return nil, fault("transform with an operation of unknown kind %d", op.Which())
		}
	}
	return path, nil
}

func msgFinish(id uint32) rpc.Message {
	m := newMessage()
	f := must(m.NewFinish())
	f.SetQuestionId(id)
	// Each import has a count of its own and is given back by a Release.
	f.SetReleaseResultCaps(false)
	f.SetRequireEarlyCancellationWorkaround(false)
	return m
}

func msgRelease(id, count uint32) rpc.Message {
	m := newMessage()
	r := must(m.NewRelease())
	r.SetId(id)
	r.SetReferenceCount(count)
	return m
}

func msgAbort(err error) rpc.Message {
	m := newMessage()
	check(setException(must(m.NewAbort()), err))
	return m
}

func msgReturn(id uint32) (rpc.Message, rpc.Return) {
	m := newMessage()
	r := must(m.NewReturn())
	r.SetAnswerId(id)
	return m, r
}

func msgException(id uint32, err error) (rpc.Message, rpc.Return) {
	m, r := msgReturn(id)
	check(setException(must(r.NewException()), err))
	return m, r
}

// msgUnimplemented sends a message of the peer's back, if it can be copied.
func msgUnimplemented(echo rpc.Message) (rpc.Message, error) {
	m := newMessage()
	if err := m.SetUnimplemented(echo); err != nil {
		return m, fault("unreadable message: %v", err)
	}
	return m, nil
}

func msgBootstrap(id uint32) rpc.Message {
	m := newMessage()
	must(m.NewBootstrap()).SetQuestionId(id)
	return m
}

func msgDisembargo(t wireTarget) (rpc.Message, rpc.Disembargo_context) {
	m := newMessage()
	d := must(m.NewDisembargo())
	t.encode(must(d.NewTarget()))
	return m, d.Context()
}
