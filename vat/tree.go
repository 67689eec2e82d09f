package vat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Node is an actor of a vat, with those below it.
type Node struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Mailbox  int    `json:"mailbox"` // messages that wait
	Waiting  int    `json:"waiting"` // calls and the like that are kept in its state until something happens
	Children []Node `json:"children,omitempty"`
}

// Tables counts the live entries of a vat, by kind, over all its sessions.
type Tables struct {
	Questions  int `json:"questions"`
	Answers    int `json:"answers"`
	Imports    int `json:"imports"`
	Exports    int `json:"exports"`
	Embargoes  int `json:"embargoes"`
	Provisions int `json:"provisions"`
	Promises   int `json:"promises"`
}

// Empty says whether nothing is left.
func (t Tables) Empty() bool { return t == Tables{} }

// nodes lists the actors below the vat that are neither sessions nor made by Spawn.
type nodes struct {
	mu   sync.Mutex
	live map[string]func() Node
}

func (n *nodes) add(name string, f func() Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live == nil {
		n.live = map[string]func() Node{}
	}
	n.live[name] = f
}

func (n *nodes) remove(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.live, name)
}

// otherNodes are the actors below the vat that are no sessions, by name.
func (v *Vat) otherNodes() []Node {
	v.nodes.mu.Lock()
	fs := maps.Clone(v.nodes.live)
	v.nodes.mu.Unlock()
	if fs == nil {
		fs = map[string]func() Node{}
	}
	for _, o := range v.supervisor.Owners() {
		x := o.(*spawned)
		fs[x.name] = x.node
	}
	var all []Node
	for _, name := range slices.Sorted(maps.Keys(fs)) {
		all = append(all, fs[name]())
	}
	return all
}

// Tables counts what is open. What is under way at the moment may or may not be in it.
func (v *Vat) Tables() Tables {
	t := Tables{Promises: int(v.promises.Load())}
	v.provisions.mu.Lock()
	t.Provisions = len(v.provisions.live)
	v.provisions.mu.Unlock()
	for _, s := range v.liveSessions() {
		s.inspect(func(s *session) {
			t.Questions += s.questions.len()
			t.Answers += s.answers.len()
			t.Imports += s.imports.len()
			t.Exports += s.exports.len()
			t.Embargoes += s.embargoes.len()
		})
	}
	return t
}

func (v *Vat) liveSessions() []*session {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make([]*session, 0, len(v.sessions))
	for _, id := range slices.Sorted(maps.Keys(v.sessions)) {
		all = append(all, v.sessions[id])
	}
	return all
}

// inspect runs f in a turn of s and waits for it; f is not run if s has ended.
func (s *session) inspect(f func(*session)) {
	m := &inspect{f, make(chan struct{})}
	if !s.post(m) {
		return
	}
	s.wake()
	<-m.done
}

// Tree is the live actor tree: every actor with its kind, name, state, and what waits for it. The children of a
// session are shown as they are between two of its turns.
func (v *Vat) Tree() Node {
	root := Node{Kind: "vat", Name: "vat", State: "open"}
	for _, s := range v.liveSessions() {
		n := Node{Kind: "session", Name: s.name, State: "dialing", Mailbox: s.queue.UserMessageCount()}
		s.inspect(func(s *session) { s.describeNode(&n) })
		root.Children = append(root.Children, n)
	}
	root.Children = append(root.Children, v.otherNodes()...)
	return root
}

func (s *session) describeNode(n *Node) {
	add := func(kind string, id uint32, state string, waiting int) {
		n.Children = append(n.Children, Node{Kind: kind, Name: fmt.Sprintf("%s/%d", kind, id), State: state, Waiting: waiting})
	}
	n.Waiting = len(s.waiting)
	if s.hello.Load() != nil {
		n.State = "open"
		n.Children = append(n.Children, s.wire.node())
	}
	s.questions.sorted(func(id uint32, x *question) { add("question", id, x.String(), int(x.inFlight)) })
	s.answers.sorted(func(id uint32, x *answer) { add("answer", id, x.String(), len(x.pipe.queue)) })
	s.imports.sorted(func(id uint32, x *imported) { add("import", id, x.String(), 0) })
	s.exports.sorted(func(id uint32, x *export) { add("export", id, x.String(), 0) })
	s.embargoes.sorted(func(id uint32, x *embargo) { add("embargo", id, x.String(), len(x.queue)) })
}

func (x *question) String() string {
	switch {
	case x.finished:
		return "finished"
	case x.returned && x.kept:
		return "results elsewhere"
	case x.returned:
		return "returned"
	}
	return "asked"
}

func (x *answer) String() string {
	switch {
	case x.returned:
		return "returned"
	case x.finished:
		return "finished"
	case x.pipe.on != nil:
		return "forwarded"
	case x.accepts != nil:
		return "parked"
	}
	return "running"
}

func (x *imported) String() string {
	switch {
	case x.resolved:
		return fmt.Sprintf("resolved, %d references", x.refs)
	case x.promise:
		return fmt.Sprintf("promise, %d references", x.refs)
	}
	return fmt.Sprintf("settled, %d references", x.refs)
}

func (x *export) String() string {
	switch {
	case x.vine:
		return "vine"
	case x.resolved:
		return fmt.Sprintf("resolved, %d references", x.refs)
	case x.watch != nil:
		return fmt.Sprintf("promise, %d references", x.refs)
	}
	return fmt.Sprintf("settled, %d references", x.refs)
}

func (x *embargo) String() string {
	if x.lifted {
		return "lifted"
	}
	return "standing"
}

// String draws the tree, an actor a line.
func (n Node) String() string {
	var b strings.Builder
	n.draw(&b, "", "")
	return b.String()
}

func (n Node) draw(b *strings.Builder, first, rest string) {
	fmt.Fprintf(b, "%s%s  %s", first, n.Name, n.State)
	if n.Mailbox > 0 {
		fmt.Fprintf(b, ", mailbox %d", n.Mailbox)
	}
	if n.Waiting > 0 {
		fmt.Fprintf(b, ", %d waiting", n.Waiting)
	}
	b.WriteByte('\n')
	for i, c := range n.Children {
		if i == len(n.Children)-1 {
			c.draw(b, rest+"└── ", rest+"    ")
		} else {
			c.draw(b, rest+"├── ", rest+"│   ")
		}
	}
}
