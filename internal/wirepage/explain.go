package wirepage

import (
	"encoding/binary"
	"fmt"
)

// An explanation says of each word of a frame of one segment what it is in the encoding of Cap'n Proto.
type explanation struct {
	words    []uint64 // of the segment
	comments map[int]string
}

// explain is by index of the word, the segment table being word 0.
func explain(frame []byte) map[int]string {
	e := &explanation{comments: map[int]string{}}
	for i := 8; i+8 <= len(frame); i += 8 {
		e.words = append(e.words, binary.LittleEndian.Uint64(frame[i:]))
	}
	e.comments[0] = fmt.Sprintf("one segment of %d words", len(e.words))
	e.pointer(0, "root")
	return e.comments
}

func (e *explanation) note(at int, format string, args ...any) {
	e.comments[at+1] = fmt.Sprintf(format, args...)
}

// pointer explains the pointer in a word, and what it leads to. Places are counted from the root, which is 0.
func (e *explanation) pointer(at int, what string) {
	if at >= len(e.words) {
		return
	}
	w := e.words[at]
	to := at + 1 + int(int32(w))>>2
	switch {
	case w == 0:
		e.note(at, "%s: null", what)
	case w&3 == 0:
		e.note(at, "%s: struct at %d", what, to)
		e.structAt(to, int(uint16(w>>32)), int(w>>48), what)
	case w&3 == 1:
		e.listAt(at, to, int(w>>32&7), int(w>>35), what)
	case w&3 == 3:
		e.note(at, "%s: capability %d", what, w>>32)
	}
}

func (e *explanation) structAt(at, data, pointers int, what string) {
	for i := range data {
		e.note(at+i, "%d: data of %s", at+i, what)
	}
	for i := range pointers {
		e.pointer(at+data+i, fmt.Sprintf("%s.%d", what, i))
	}
}

func (e *explanation) listAt(at, to, size, count int, what string) {
	switch size {
	case 2:
		e.note(at, "%s: %d bytes at %d", what, count, to)
	case 6:
		e.note(at, "%s: list of %d pointers at %d", what, count, to)
		for i := range count {
			e.pointer(to+i, fmt.Sprintf("%s[%d]", what, i))
		}
	case 7:
		tag := e.words[to]
		n, data, pointers := int(uint32(tag)>>2), int(uint16(tag>>32)), int(tag>>48)
		e.note(at, "%s: list of structs at %d", what, to)
		e.note(to, "%d: %d of %d words of data and %d pointers", to, n, data, pointers)
		for i := range n {
			e.structAt(to+1+i*(data+pointers), data, pointers, fmt.Sprintf("%s[%d]", what, i))
		}
	default:
		e.note(at, "%s: list of %d at %d", what, count, to)
	}
}
