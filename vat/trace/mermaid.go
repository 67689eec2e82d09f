package trace

import (
	"fmt"
	"io"
	"strings"
)

// WriteMermaid writes the exchange as a Mermaid sequence diagram whose participants stand in the order given.
func WriteMermaid(w io.Writer, participants []string, messages []Message) error {
	var b strings.Builder
	b.WriteString("sequenceDiagram\n")
	for _, p := range participants {
		fmt.Fprintf(&b, "    participant %s\n", mermaidText(p))
	}
	for _, m := range messages {
		row := ""
		if m.Row > 0 {
			row = fmt.Sprintf("[%d] ", m.Row)
		}
		fmt.Fprintf(&b, "    %s->>%s: %s%s\n", mermaidText(m.From), mermaidText(m.To), row, mermaidText(m.text()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mermaidText keeps Mermaid from reading a statement's end or an entity where we mean the character.
func mermaidText(s string) string {
	return strings.NewReplacer("#", "#35;", ";", "#59;").Replace(oneLine(s))
}
