package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var inDocument = regexp.MustCompile("(?m)^(?:vatnode|go run \\./cmd/node) (.+?)(?: 2>[a-z.]+)?(?: &)?$|`(?:vatnode|go run \\./cmd/node) ([^`]+)`")

// TestDocumentedCommands holds the commands that the README shows to those that there are.
func TestDocumentedCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := inDocument.FindAllStringSubmatch(string(text), -1)
	if len(found) < 10 {
		t.Errorf("%d commands: has the README another form now?", len(found))
	}
	for _, m := range found {
		line := strings.Fields(m[1] + m[2])
		cmd, args, err := newRoot().Find(line)
		if err == nil && cmd.Parent() == nil {
			t.Errorf("there is no command %q", line[0])
			continue
		}
		if err == nil && !strings.HasSuffix(m[0], "--help`") {
			err = cmd.ParseFlags(args)
		}
		if err != nil {
			t.Errorf("%s: %v", m[0], err)
		}
	}
}
