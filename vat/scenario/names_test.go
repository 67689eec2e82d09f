package scenario

import (
	"fmt"
	"strings"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/schemas"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/scenario/play"
	"github.com/vatwork/vatwork/vat/trace"
)

// A narrator writes messages as lines. It gives names to ids when it first sees them, so that a line depends on
// what was said before and not on how a vat numbers things: Q for questions, E for exports, V for vines,
// M for embargoes, N for nonces.
type narrator struct {
	decoder   *trace.Decoder
	count     map[string]int
	questions map[at]string
	exports   map[at]*exported
	words     map[string]string // nonces and embargo ids
}

// at is an id of the vat from, in its session with the vat to.
type at struct {
	link
	id uint32
}

type exported struct {
	name string
	refs uint32
}

func newNarrator() *narrator {
	registry := &schemas.Registry{}
	play.RegisterSchema(registry)
	short := func(id transport.VatID) string { return strings.TrimPrefix(string(id), "plain:") }
	return &narrator{
		decoder:   trace.NewDecoder(short, registry),
		count:     map[string]int{},
		questions: map[at]string{},
		exports:   map[at]*exported{},
		words:     map[string]string{},
	}
}

// line is what the frame says.
func (n *narrator) line(s sent) string {
	msg, err := capnp.Unmarshal(s.frame)
	if err != nil {
		return fmt.Sprintf("%v unreadable: %v", s.link, err)
	}
	defer msg.Release()
	m, err := rpc.ReadRootMessage(msg)
	if err != nil {
		return fmt.Sprintf("%v unreadable: %v", s.link, err)
	}
	l, err := n.decoder.Decode(m)
	text := n.text(s.link, l, m)
	if err != nil {
		text += fmt.Sprintf(" (%v)", err)
	}
	return text
}

func (n *narrator) text(on link, l trace.Line, m rpc.Message) string {
	w := []string{l.Msg}
	add := func(s ...string) { w = append(w, s...) }
	switch l.Msg {
	case "bootstrap":
		add(n.ask(on, l.ID))
	case "call":
		add(n.ask(on, l.ID), l.Method)
		add(n.content(m)...)
		add("on=" + n.target(on, l.Target))
		add(n.caps(on, l.Caps)...)
		if l.ResultsTo == "thirdParty" && l.Nonce != "" {
			add("to="+l.Recipient, "nonce="+n.word("N", l.Nonce))
		} else if l.ResultsTo == "thirdParty" {
			add("to="+l.Recipient, "nonces="+n.nonces(l.Nonces))
		} else if l.ResultsTo != "caller" {
			add("to=" + l.ResultsTo)
		}
	case "return":
		add(n.returned(on, l, m)...)
	case "finish":
		add(n.asked(on, l.ID))
		if *l.ReleaseCaps {
			add("releaseCaps")
		}
	case "resolve":
		add(n.export(on, *l.ID, "E", 0))
		if l.Which == "exception" {
			add(exceptionOf(m))
		}
		add(n.caps(on, l.Caps)...)
	case "release":
		add(n.release(on.back(), *l.ID, *l.Count))
		if *l.Count != 1 {
			add(fmt.Sprintf("x%d", *l.Count))
		}
	case "disembargo":
		add(l.Context+"="+n.embargo(on, l), "on="+n.target(on, l.Target))
	case "provide":
		add(n.ask(on, l.ID), "on="+n.target(on, l.Target), "to="+l.Recipient, "nonce="+n.word("N", l.Nonce))
	case "accept":
		add(n.ask(on, l.ID), "from="+l.Introducer, "nonce="+n.word("N", l.Nonce))
		add(forwardedBy(l.By)...)
		if l.Embargo != "" {
			add("embargo=" + n.word("M", l.Embargo))
		}
	case "thirdPartyAnswer":
		add(n.ask(on.back(), l.ID), "from="+l.Introducer, "nonce="+n.word("N", l.Nonce))
	case "abort":
		add(exceptionOf(m))
	case "unimplemented":
		if inner, err := m.Unimplemented(); err == nil {
			add(inner.Which().String())
		}
	}
	return strings.Join(w, " ")
}

func (l link) back() link { return link{l.to, l.from} }

func (n *narrator) fresh(kind string) string {
	n.count[kind]++
	return fmt.Sprintf("%s%d", kind, n.count[kind])
}

// ask names a new question.
func (n *narrator) ask(on link, id *uint32) string {
	name := n.fresh("Q")
	n.questions[at{on, *id}] = name
	return name
}

func (n *narrator) asked(on link, id *uint32) string {
	if name, ok := n.questions[at{on, *id}]; ok {
		return name
	}
	return fmt.Sprintf("Q?%d", *id)
}

// export names what the vat on.from exports to on.to, with so many more references.
func (n *narrator) export(on link, id uint32, kind string, more uint32) string {
	e, ok := n.exports[at{on, id}]
	if !ok {
		if more == 0 {
			return fmt.Sprintf("%s?%d", kind, id)
		}
		e = &exported{name: n.fresh(kind)}
		n.exports[at{on, id}] = e
	}
	e.refs += more
	return e.name
}

func (n *narrator) release(on link, id, count uint32) string {
	name := n.export(on, id, "E", 0)
	if e, ok := n.exports[at{on, id}]; ok {
		if e.refs -= min(count, e.refs); e.refs == 0 {
			delete(n.exports, at{on, id})
		}
	}
	return name
}

func (n *narrator) target(on link, t *trace.Target) string {
	switch {
	case t == nil:
		return "nothing"
	case t.Import != nil:
		return n.export(on.back(), *t.Import, "E", 0)
	}
	return n.asked(on, t.Answer) + path(t.Path)
}

// path writes pointer fields of a Cargo.
func path(fields []uint16) string {
	var s strings.Builder
	for _, f := range fields {
		s.WriteByte('.')
		switch f {
		case 0:
			s.WriteString("cap")
		case 3:
			s.WriteString("nested")
		default:
			fmt.Fprint(&s, f)
		}
	}
	return s.String()
}

func (n *narrator) caps(on link, caps []trace.Cap) []string {
	var w []string
	for _, c := range caps {
		switch c.Which {
		case "none":
			w = append(w, "none")
		case "senderHosted", "senderPromise":
			w = append(w, c.Which+"="+n.export(on, *c.ID, "E", 1))
		case "receiverHosted":
			w = append(w, c.Which+"="+n.export(on.back(), *c.ID, "E", 0))
		case "receiverAnswer":
			w = append(w, c.Which+"="+n.asked(on.back(), c.ID)+path(c.Path))
		case "thirdPartyHosted":
			w = append(w, "third="+c.Vat, "nonce="+n.word("N", c.Nonce), "vine="+n.export(on, *c.Vine, "V", 1))
			w = append(w, forwardedBy(c.By)...)
		default:
			w = append(w, c.Which)
		}
	}
	return w
}

// forwardedBy is who has passed a contact on, oldest first.
func forwardedBy(by []string) []string {
	if len(by) == 0 {
		return nil
	}
	return []string{"by=" + strings.Join(by, ",")}
}

func (n *narrator) returned(on link, l trace.Line, m rpc.Message) []string {
	w := []string{n.asked(on.back(), l.ID)}
	switch l.Which {
	case "results":
		w = append(w, n.content(m)...)
		w = append(w, n.caps(on, l.Caps)...)
	case "exception":
		w = append(w, exceptionOf(m))
	case "awaitFromThirdParty":
		w = append(w, l.Which, "of="+l.Recipient, "nonce="+n.word("N", l.Nonce))
	case "takeFromOtherQuestion":
		w = append(w, l.Which)
		if r, err := m.Return(); err == nil {
			w = append(w, n.asked(on, new(r.TakeFromOtherQuestion())))
		}
	default:
		w = append(w, l.Which)
	}
	if !*l.ReleaseCaps {
		w = append(w, "keepParams")
	}
	if *l.NoFinish {
		w = append(w, "noFinish")
	}
	return w
}

func (n *narrator) word(kind, hex string) string {
	name, ok := n.words[kind+hex]
	if !ok {
		name = n.fresh(kind)
		n.words[kind+hex] = name
	}
	return name
}

func (n *narrator) nonces(hex []string) string {
	names := make([]string, len(hex))
	for i, h := range hex {
		names[i] = n.word("N", h)
	}
	return strings.Join(names, ",")
}

// embargo names the id of a Disembargo. Loopback ids belong to the vat that embargoes.
func (n *narrator) embargo(on link, l trace.Line) string {
	switch l.Context {
	case "senderLoopback":
		return n.word("M", on.String()+l.Embargo)
	case "receiverLoopback":
		return n.word("M", on.back().String()+l.Embargo)
	}
	return n.word("M", l.Embargo)
}

// content is the text in the parameters of a call or in the results of a return.
func (n *narrator) content(m rpc.Message) []string {
	var p rpc.Payload
	var err error
	switch m.Which() {
	case rpc.Message_Which_call:
		var c rpc.Call
		if c, err = m.Call(); err == nil {
			p, err = c.Params()
		}
	case rpc.Message_Which_return:
		var r rpc.Return
		if r, err = m.Return(); err == nil && r.Which() == rpc.Return_Which_results {
			p, err = r.Results()
		}
	}
	if err != nil || !p.IsValid() {
		return nil
	}
	content, err := p.Content()
	if err != nil {
		return nil
	}
	text, err := play.Cargo(content.Struct()).Text()
	if err != nil || text == "" {
		return nil
	}
	return []string{fmt.Sprintf("%.40q", text)}
}

// exceptionOf is the exception of a return, a resolve or an abort.
func exceptionOf(m rpc.Message) string {
	var e rpc.Exception
	var err error
	switch m.Which() {
	case rpc.Message_Which_return:
		var r rpc.Return
		if r, err = m.Return(); err == nil {
			e, err = r.Exception()
		}
	case rpc.Message_Which_resolve:
		var r rpc.Resolve
		if r, err = m.Resolve(); err == nil {
			e, err = r.Exception()
		}
	default:
		e, err = m.Abort()
	}
	if err != nil {
		return err.Error()
	}
	reason, _ := e.Reason()
	return fmt.Sprintf("%v %q", exc.Type(e.Type()), reason)
}
