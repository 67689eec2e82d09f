package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/scenario/play"
)

// must checks what has to hold in every schedule:
//
//	must OBJECT ran CALL, CALL ...       exactly these calls, in this order; or "nothing"
//	must OBJECT began CALL, CALL ...     some of these calls, the first ones, in this order
//	must OBJECT shut | alive
//	must VAT.CALL over                   it returned or failed
//	must VAT.CALL pending | returned [TEXT] | failed TYPE [PART OF THE REASON]
//	must sent LINK WORD ...              since the last mark, a message with these words in this order
//	must unsent LINK [WORD ...]          no such message
//	must all ordered                     each object ran "creek KEY N" with N growing, for each KEY
//	must empty VAT                       its tables are
func (st *stage) must(args []string) error {
	if len(args) < 2 {
		return errors.New("must what?")
	}
	switch args[0] {
	case "sent", "unsent":
		return st.mustSend(args[0] == "sent", args[1], args[2:])
	case "all":
		return st.mustBeOrdered()
	case "empty":
		m, err := st.member(args[1])
		if err != nil {
			return err
		}
		if tables := m.v.Tables(); !tables.Empty() {
			return fmt.Errorf("%s has %+v", m.name, tables)
		}
		return nil
	}
	vat, call, ok := strings.Cut(args[0], ".")
	if !ok {
		return st.mustObject(args[0], args[1], strings.Join(args[2:], " "))
	}
	m, err := st.member(vat)
	if err != nil {
		return err
	}
	p, err := m.asked(call)
	if err != nil {
		return err
	}
	return p.must(args[1], args[2:])
}

func (st *stage) mustObject(object, verb, want string) error {
	var ran []string
	shut := 0
	for _, m := range st.members {
		m.mu.Lock()
		if r, ok := m.ran[object]; ok {
			ran = slices.Clone(r)
		}
		shut += m.shut[object]
		m.mu.Unlock()
	}
	switch verb {
	case "ran":
		if want == "nothing" {
			want = ""
		}
		if got := strings.Join(ran, ", "); got != want {
			return fmt.Errorf("%s ran %q", object, got)
		}
	case "began":
		if got := strings.Join(ran, ", "); !strings.HasPrefix(want, got) {
			return fmt.Errorf("%s ran %q", object, got)
		}
	case "shut":
		if shut != 1 {
			return fmt.Errorf("%s was shut down %d times", object, shut)
		}
	case "alive":
		if shut != 0 {
			return fmt.Errorf("%s was shut down", object)
		}
	default:
		return fmt.Errorf("must %s: unknown verb", verb)
	}
	return nil
}

// mustBeOrdered checks the order of the calls on each reference, which is what KEY stands for.
func (st *stage) mustBeOrdered() error {
	for _, m := range st.members {
		m.mu.Lock()
		defer m.mu.Unlock()
		for object, ran := range m.ran {
			last := map[string]int{}
			for _, call := range ran {
				var key string
				var n int
				if _, err := fmt.Sscanf(call, "creek %s %d", &key, &n); err != nil {
					continue
				}
				if n <= last[key] {
					return fmt.Errorf("%s ran %q", object, ran)
				}
				last[key] = n
			}
		}
	}
	return nil
}

func (p *pending) must(verb string, want []string) error {
	select {
	case <-p.ans.Done():
	default:
		if verb == "pending" {
			return nil
		}
		return errors.New("it is pending")
	}
	s, err := p.ans.Struct()
	text := ""
	if err == nil {
		text, err = play.Cargo(s).Text()
	}
	switch {
	case verb == "over":
		return nil
	case verb == "returned" && err == nil:
		if w := strings.Join(want, " "); len(want) > 0 && w != text {
			return fmt.Errorf("it returned %q", text)
		}
		return nil
	case verb == "failed" && err != nil:
		return mustFail(err, want[0], strings.Join(want[1:], " "))
	}
	return fmt.Errorf("it returned %q, error %v", text, err)
}

func mustFail(err error, kind, reason string) error {
	if want, ok := exceptionTypes[kind]; !ok || exc.TypeOf(err) != want {
		return fmt.Errorf("it failed as %v: %w", exc.TypeOf(err), err)
	}
	if !strings.Contains(err.Error(), reason) {
		return fmt.Errorf("it failed with: %w", err)
	}
	return nil
}

func (st *stage) mustSend(want bool, on string, pattern []string) error {
	l, err := parseLink(on)
	if err != nil {
		return err
	}
	count := -1 // any
	if n := len(pattern); n > 0 && strings.HasPrefix(pattern[n-1], "x") {
		if c, err := strconv.Atoi(pattern[n-1][1:]); err == nil {
			count, pattern = c, pattern[:n-1]
		}
	}
	found := 0
	last := ""
	for _, seen := range st.log[st.mark:] {
		if seen.link == l && matches(strings.Fields(seen.text), pattern) {
			found++
			last = seen.text
		}
	}
	switch {
	case want && count >= 0 && found != count:
		return fmt.Errorf("%d such messages were sent", found)
	case want && found == 0:
		return errors.New("nothing like that was sent")
	case !want && found > 0:
		return fmt.Errorf("sent: %s", last)
	}
	return nil
}

// matches says whether the words of pattern are among words, in order. A word of the pattern stands for itself
// or for what comes before a "=".
func matches(words, pattern []string) bool {
	for _, w := range words {
		if len(pattern) == 0 {
			return true
		}
		key, _, _ := strings.Cut(w, "=")
		if pattern[0] == w || pattern[0] == key {
			pattern = pattern[1:]
		}
	}
	return len(pattern) == 0
}
