package wirepage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// A Page is a text with examples: fenced blocks that begin with "```bytes NAME" for bytes, or "```frame NAME" for a message
// with its segment table. They hold hexadecimal digits, a word of eight bytes a line, each with a comment after "#".
type Page struct {
	parts []part
}

// A part is a line of the text, or a block.
type part struct {
	text, kind, name string
	bytes            []byte
}

const fence = "```"

// Parse reads a page. It fails for digits that are none, and for two blocks of one name.
func Parse(text string) (*Page, error) {
	p, in := &Page{}, -1
	for _, line := range strings.SplitAfter(text, "\n") {
		kind, name, starts := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, fence)), " ")
		switch {
		case in < 0 && strings.HasPrefix(line, fence) && starts && (kind == "bytes" || kind == "frame"):
			if _, twice := p.Block(name); twice {
				return nil, fmt.Errorf("two blocks are called %q", name)
			}
			in = len(p.parts)
			p.parts = append(p.parts, part{kind: kind, name: name})
		case in < 0:
			p.parts = append(p.parts, part{text: line})
		case strings.HasPrefix(line, fence):
			in = -1
		default:
			digits, _, _ := strings.Cut(line, "#")
			b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			if err != nil {
				return nil, fmt.Errorf("block %q: %w", p.parts[in].name, err)
			}
			p.parts[in].bytes = append(p.parts[in].bytes, b...)
		}
	}
	return p, nil
}

// Block is the block of that name.
func (p *Page) Block(name string) ([]byte, bool) {
	for _, x := range p.parts {
		if x.kind != "" && x.name == name {
			return x.bytes, true
		}
	}
	return nil, false
}

// Set changes the block of that name, if there is one.
func (p *Page) Set(name string, b []byte) {
	for i := range p.parts {
		if p.parts[i].kind != "" && p.parts[i].name == name {
			p.parts[i].bytes = b
		}
	}
}

// String is the page as text.
func (p *Page) String() string {
	var s strings.Builder
	for _, x := range p.parts {
		if x.kind == "" {
			s.WriteString(x.text)
			continue
		}
		fmt.Fprintf(&s, "%s%s %s\n", fence, x.kind, x.name)
		var comments map[int]string
		if x.kind == "frame" {
			comments = explain(x.bytes)
		}
		for i := 0; i < len(x.bytes); i += 8 {
			word := fmt.Sprintf("% x", x.bytes[i:min(i+8, len(x.bytes))])
			comment, ok := comments[i/8]
			if !ok {
				comment = printable(x.bytes[i:min(i+8, len(x.bytes))])
			}
			s.WriteString(strings.TrimRight(fmt.Sprintf("%-23s  # %s", word, comment), " #") + "\n")
		}
		s.WriteString(fence + "\n")
	}
	return s.String()
}

// printable is b, but for zeros at its end, as text, if it is.
func printable(b []byte) string {
	text := strings.TrimRight(string(b), "\x00")
	for _, c := range text {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%q", text)
}

// Compare says what in the page at path is not as it was made, by name of the block, nil if all is; or writes it there.
func Compare(path string, made map[string][]byte, update bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page, err := Parse(string(text))
	if err != nil {
		return err
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(made)) {
		b, ok := page.Block(name)
		switch {
		case !ok:
			wrong = append(wrong, fmt.Errorf("%s: no block is called %q", path, name))
		case !bytes.Equal(b, made[name]) && !update:
			wrong = append(wrong, fmt.Errorf("%s: %s is now % x (-update rewrites it)", path, name, made[name]))
		}
		page.Set(name, made[name])
	}
	if update {
		return os.WriteFile(path, []byte(page.String()), 0o644)
	}
	if len(wrong) == 0 && page.String() != string(text) {
		wrong = append(wrong, fmt.Errorf("%s: comments of a block are not what -update writes", path))
	}
	return errors.Join(wrong...)
}
