package main

import (
	"strings"
	"testing"
)

func TestComplaintsKeepBothEnds(t *testing.T) {
	var kept complaints
	say := func(s string) {
		if n, err := kept.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	say("panic: ")
	say("of mine")
	if s := kept.String(); s != "panic: of mine" {
		t.Errorf("kept %q", s)
	}
	for range maxComplaints {
		say("goroutine")
	}
	say(" exit 2")
	s := kept.String()
	if !strings.HasPrefix(s, "panic: of minegoroutine") || !strings.HasSuffix(s, "goroutine exit 2") || !strings.Contains(s, "[...]") {
		t.Errorf("kept %.40q and so on, %q", s, s[len(s)-40:])
	}
	if len(s) > maxComplaints+10 {
		t.Errorf("%d bytes are kept, at most %d wanted", len(s), maxComplaints)
	}
}
