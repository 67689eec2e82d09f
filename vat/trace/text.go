package trace

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes one line a message: the row in the protocol's table where it has one, the two vats, and
// what the message says, in the words of rpc.capnp.
func WriteText(w io.Writer, messages []Message) error {
	from, to := 0, 0
	for _, m := range messages {
		from, to = max(from, len(m.From)), max(to, len(m.To))
	}
	for _, m := range messages {
		row := ""
		if m.Row > 0 {
			row = fmt.Sprint(m.Row)
		}
		if _, err := fmt.Fprintf(w, "%3s  %-*s -> %-*s  %s\n", row, from, m.From, to, m.To, oneLine(m.text())); err != nil {
			return err
		}
	}
	return nil
}

// text says what the line says to a reader, without the vats and the times.
func (l Line) text() string {
	switch l.Msg {
	case "call":
		return l.callText()
	case "return":
		return fmt.Sprintf("return %s: %s", number(l.ID), l.outcome())
	case "finish":
		if l.ReleaseCaps != nil && !*l.ReleaseCaps {
			return fmt.Sprintf("finish %s, keeping its capabilities", number(l.ID))
		}
		return fmt.Sprintf("finish %s", number(l.ID))
	case "resolve":
		return fmt.Sprintf("resolve promise %s: %s", number(l.ID), l.outcome())
	case "release":
		return fmt.Sprintf("release export %s, %s", number(l.ID), plural(l.Count, "reference"))
	case "disembargo":
		return fmt.Sprintf("disembargo of %s, %s %s", l.Target, l.Context, short(l.Embargo))
	case "provide":
		return fmt.Sprintf("provide %s, target %s, to %s (nonce %s)", number(l.ID), l.Target, l.Recipient, short(l.Nonce))
	case "accept":
		text := fmt.Sprintf("accept %s, provided by %s (nonce %s)", number(l.ID), l.Introducer, short(l.Nonce)) + forwardedText(l.By)
		if l.Embargo != "" {
			text += ", embargo " + short(l.Embargo)
		}
		return text
	case "abort":
		return "abort: " + l.Error
	}
	if l.ID == nil {
		return l.Msg
	}
	return fmt.Sprintf("%s %s", l.Msg, number(l.ID))
}

func (l Line) callText() string {
	method := l.Method
	if strings.HasPrefix(l.Interface, "0x") {
		method = l.Interface + "." + method // a bare ordinal would say nothing
	}
	text := fmt.Sprintf("call %s %s on %s", number(l.ID), method, l.Target)
	if len(l.Caps) > 0 {
		text += ", with " + l.capsText()
	}
	switch l.ResultsTo {
	case "yourself":
		text += ", results stay there"
	case "thirdParty":
		nonces := make([]string, len(l.Nonces))
		for i, n := range l.Nonces {
			nonces[i] = short(n)
		}
		text += fmt.Sprintf(", results to %s (nonce %s)", l.Recipient, strings.Join(nonces, ", "))
	}
	return text
}

// outcome is what a return or a resolve brings.
func (l Line) outcome() string {
	switch {
	case l.Which == "exception":
		return "exception: " + l.Error
	case len(l.Caps) > 0:
		return l.capsText()
	case l.Which == "resultsSentElsewhere":
		return "results sent elsewhere"
	}
	return l.Which
}

func (l Line) capsText() string {
	texts := make([]string, len(l.Caps))
	for i, c := range l.Caps {
		texts[i] = c.String()
	}
	return strings.Join(texts, ", ")
}

func forwardedText(by []string) string {
	if len(by) == 0 {
		return ""
	}
	return ", forwarded by " + strings.Join(by, " and ")
}

// String describes the capability as its sender does.
func (c Cap) String() string {
	switch c.Which {
	case "thirdPartyHosted":
		return fmt.Sprintf("hosted by %s (nonce %s), vine %s", c.Vat, short(c.Nonce), number(c.Vine)) + forwardedText(c.By)
	case "none":
		return "none"
	}
	text := fmt.Sprintf("%s %s", c.Which, number(c.ID))
	if len(c.Path) > 0 {
		text += pathText(c.Path)
	}
	return text
}

// String names the import, or the place in an answer; a nil target is "nothing".
func (t *Target) String() string {
	switch {
	case t == nil:
		return "nothing"
	case t.Import != nil:
		return "import " + number(t.Import)
	case len(t.Path) > 0:
		return "answer " + number(t.Answer) + pathText(t.Path)
	}
	return "answer " + number(t.Answer)
}

func pathText(path []uint16) string {
	return strings.ReplaceAll(fmt.Sprint(path), " ", ",")
}

func number(id *uint32) string {
	if id == nil {
		return "?"
	}
	return fmt.Sprint(*id)
}

func plural(n *uint32, what string) string {
	if n != nil && *n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

// short shows as much of a nonce as tells it from the others.
func short(hex string) string {
	const digits = 4
	if len(hex) <= 2*digits {
		return hex
	}
	return hex[:digits] + "…"
}

// oneLine keeps what a peer wrote (a reason, say) from breaking out of its line, or out of the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
