package names

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/transport"
)

// Bounds of a node's part in the directory.
const (
	MaxNames     = 4096             // that one node holds
	MaxNamesEach = 1024             // of these, of one publisher that is not the node itself
	MaxNameBytes = 128              // of a name
	MaxWatches   = 1024             // that a node serves for one vat
	Hold         = 10 * time.Minute // for which a name stays whose host, or the node that held it, is gone
	Patience     = 5 * time.Second  // for an answer of another member
	maxWhyBytes  = 512
)

// State is what has become of a name.
type State = Entry_State

// The states of a name: there is none, its host is there, its host or the node that holds it is gone.
const (
	Absent = Entry_State_absent
	Live   = Entry_State_live
	Gone   = Entry_State_gone
)

// A Record is what a node knows of a name.
type Record struct {
	Name      string
	State     State
	Holder    transport.VatID // the node that holds it
	Publisher transport.VatID
	Stamp     uint64 // when it was first published, in nanoseconds since 1970 by the holder's clock
	Version   uint64 // grows with each change at the holder
	Why       string // it is gone
}

// before says whether a keeps the name where both have it.
func (a Record) before(b Record) bool {
	switch {
	case a.State != b.State:
		return a.State == Live
	case a.Stamp != b.Stamp:
		return a.Stamp < b.Stamp
	}
	return a.Holder < b.Holder
}

// checkName keeps names to what fits a line of a table.
func checkName(name string) error {
	switch {
	case name == "":
		return failed("the name is empty")
	case len(name) > MaxNameBytes:
		return failed("a name of %d bytes: at most %d are allowed", len(name), MaxNameBytes)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return failed("the name %q is not printable text", name)
	}
	return nil
}

func (a Record) encode(e Entry) error {
	e.SetState(a.State)
	e.SetStamp(a.Stamp)
	e.SetVersion(a.Version)
	for _, set := range []struct {
		to   func(string) error
		text string
	}{{e.SetName, a.Name}, {e.SetHolder, string(a.Holder)}, {e.SetPublisher, string(a.Publisher)}, {e.SetWhy, a.Why}} {
		if err := set.to(set.text); err != nil {
			return err
		}
	}
	return nil
}

// decode reads what a member says of a name that it holds itself.
func decode(e Entry, holder transport.VatID) (Record, error) {
	name, err := e.Name()
	if err != nil {
		return Record{}, err
	}
	if err := checkName(name); err != nil {
		return Record{}, err
	}
	publisher, err := e.Publisher()
	if err != nil {
		return Record{}, err
	}
	why, err := e.Why()
	if err != nil {
		return Record{}, err
	}
	if e.State() > Gone || len(why) > maxWhyBytes {
		return Record{}, failed("what it says of %q is no entry", name)
	}
	r := Record{Name: name, State: e.State(), Holder: holder, Stamp: e.Stamp(), Version: e.Version(), Why: why}
	if publisher != "" {
		if r.Publisher, err = transport.ParseVatID(publisher); err != nil {
			return Record{}, err
		}
	}
	return r, nil
}

func cut(why string) string {
	if len(why) > maxWhyBytes {
		why = strings.ToValidUTF8(why[:maxWhyBytes-len("…")], "") + "…"
	}
	return why
}

func failed(format string, args ...any) error {
	return exc.New(exc.Failed, "", fmt.Sprintf(format, args...))
}

func disconnected(format string, args ...any) error {
	return exc.New(exc.Disconnected, "", fmt.Sprintf(format, args...))
}

func overloaded(format string, args ...any) error {
	return exc.New(exc.Overloaded, "", fmt.Sprintf(format, args...))
}
