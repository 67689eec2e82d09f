package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/scenario/play"
)

var methods = []string{"foo", "bar", "creek", "keep", "back", "wait", "fail", "poke", "tail", "pipe"}

// methodNamed is one of play.Thing, or "method99", or "interface99", which nobody has.
func methodNamed(name string) (capnp.Method, error) {
	m := capnp.Method{InterfaceID: play.Thing_TypeID, InterfaceName: "Thing", MethodName: name}
	if i := slices.Index(methods, name); i >= 0 {
		m.MethodID = uint16(i)
		return m, nil
	}
	if n, ok := strings.CutPrefix(name, "method"); ok {
		id, err := strconv.ParseUint(n, 10, 16)
		m.MethodID = uint16(id)
		return m, err
	}
	if n, ok := strings.CutPrefix(name, "interface"); ok {
		id, err := strconv.ParseUint(n, 10, 16)
		m.InterfaceID = id
		return m, err
	}
	return m, fmt.Errorf("no method is called %s", name)
}

// act is what local code of m does.
func (st *stage) act(m *member, words []string) error {
	if len(words) == 0 {
		return fmt.Errorf("do %s what?", m.name)
	}
	if len(words) > 2 && words[1] == "=" {
		return st.assign(m, words[0], words[2:])
	}
	verb, args := words[0], words[1:]
	switch verb {
	case "object":
		for _, name := range args {
			m.set(name, m.newObject(name))
		}
		return nil
	case "promise":
		for _, name := range args {
			m.set(name, capnp.Client(m.newPromise(name)))
		}
		return nil
	case "resolve":
		return m.resolve(args[0], args[1])
	case "reject":
		r, err := m.resolver(args[0])
		if err == nil {
			r.Reject(parseException(strings.Join(args[1:], " ")))
		}
		return err
	case "open":
		close(m.gate(args[0]))
		return nil
	case "drop":
		return st.drop(m, args)
	case "cancel":
		return m.cancel(args[0])
	case "release":
		return m.release(args)
	case "close":
		st.wire.openLinks(m.name)
		return m.v.Close()
	case "shutdown":
		st.wire.openLinks(m.name)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return m.v.Shutdown(ctx)
	case "end":
		peer, err := st.member(args[0])
		if err == nil {
			m.v.EndSession(peer.v.ID(), strings.Join(args[1:], " "))
		}
		return err
	}
	return fmt.Errorf("do %s %s: unknown verb", m.name, verb)
}

// resolve fulfills a promise with what is known by name, or "null".
func (m *member) resolve(promise, name string) error {
	var c capnp.Client
	if name != "null" {
		known, ok := m.get(name)
		if !ok {
			return fmt.Errorf("%s knows no %s", m.name, name)
		}
		c = known.AddRef()
	}
	r, err := m.resolver(promise)
	if err != nil {
		return err
	}
	r.Fulfill(play.Thing(c))
	return nil
}

// drop releases calls and capabilities.
func (st *stage) drop(m *member, names []string) error {
	for _, name := range names {
		st.pause()
		if c, ok := m.take(name); ok {
			c.Release()
			continue
		}
		m.mu.Lock()
		p, ok := m.calls[name]
		delete(m.calls, name)
		m.mu.Unlock()
		if !ok {
			return fmt.Errorf("%s has nothing called %s", m.name, name)
		}
		p.drop()
	}
	return nil
}

func (m *member) cancel(name string) error {
	p, err := m.asked(name)
	if err == nil {
		p.cancel()
	}
	return err
}

// release releases calls, whose contexts go on.
func (m *member) release(names []string) error {
	for _, name := range names {
		p, err := m.asked(name)
		if err != nil {
			return err
		}
		p.release()
	}
	return nil
}

func (m *member) asked(name string) (*pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.calls[name]
	if !ok {
		return nil, fmt.Errorf("%s has made no call %s", m.name, name)
	}
	return p, nil
}

// assign makes a call, or takes a capability.
func (st *stage) assign(m *member, name string, words []string) error {
	if words[0] == "bootstrap" {
		peer, err := st.member(words[1])
		if err != nil {
			return err
		}
		m.set(name, m.v.Bootstrap(context.Background(), peer.v.ID()))
		return nil
	}
	source, field, ok := strings.Cut(words[0], ".")
	if !ok {
		c, known := m.get(source)
		if !known {
			return fmt.Errorf("%s knows no %s", m.name, source)
		}
		m.set(name, c.AddRef())
		return nil
	}
	if p, err := m.asked(source); err == nil {
		c, err := p.part(field)
		if err == nil {
			m.set(name, c)
		}
		return err
	}
	method, err := methodNamed(field)
	if err != nil {
		return err
	}
	return m.call(name, source, method, func(c play.Cargo) error { return m.load(c, words[1:]) })
}

// part is a new reference to a capability in the results: cap, nested.cap, list.0. Those in a list can be had
// only once the call has returned.
func (p *pending) part(field string) (capnp.Client, error) {
	switch field {
	case "cap":
		return p.ans.Field(0, nil).Client().AddRef(), nil
	case "nested.cap":
		return p.ans.Field(3, nil).Field(0, nil).Client().AddRef(), nil
	}
	n, ok := strings.CutPrefix(field, "list.")
	i, err := strconv.Atoi(n)
	if !ok || err != nil {
		return capnp.Client{}, fmt.Errorf("no results have a capability %s", field)
	}
	s, err := p.ans.Struct()
	if err != nil {
		return capnp.Client{}, err
	}
	list, err := play.Cargo(s).List()
	if err != nil {
		return capnp.Client{}, err
	}
	c, err := list.At(i)
	return capnp.Client(c).AddRef(), err
}

// load fills parameters: words are the text, but for cap=x, list=x,y and nested=x.
func (m *member) load(c play.Cargo, words []string) error {
	var text []string
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			text = append(text, w)
			continue
		}
		if err := m.loadCaps(c, key, strings.Split(value, ",")); err != nil {
			return err
		}
	}
	if len(text) == 0 {
		return nil
	}
	return c.SetText(strings.Join(text, " "))
}

func (m *member) loadCaps(c play.Cargo, key string, names []string) error {
	caps := make([]play.Thing, len(names))
	for i, name := range names {
		known, ok := m.get(name)
		if !ok && name != "null" {
			return fmt.Errorf("%s knows no %s", m.name, name)
		}
		caps[i] = play.Thing(known.AddRef())
	}
	switch key {
	case "cap":
		return c.SetCap(caps[0])
	case "nested":
		nested, err := c.NewNested()
		if err != nil {
			return err
		}
		return nested.SetCap(caps[0])
	case "list":
		list, err := c.NewList(int32(len(caps)))
		for i := range caps {
			if err == nil {
				err = list.Set(i, caps[i])
			}
		}
		return err
	}
	return fmt.Errorf("parameters have no %s", key)
}
