package cluster

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// NameHold is how long a member name stays with its vat after it has failed or left. A live vat refutes
// a false obituary within a few gossip intervals; a much later claimant takes nothing from anyone alive.
// It does not apply to plain vats, who have no proof to hold a name by.
const NameHold = 30 * time.Second

// maxVats bounds the directory, and with it what a flood of made-up identities can cost.
const maxVats = 4096

// State is how a member stands.
type State int

const (
	// Alive: memberlist counts it as a member, perhaps under suspicion.
	Alive State = iota
	// Failed: memberlist declared it dead, without a goodbye.
	Failed
	// Left: it said goodbye.
	Left
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Failed:
		return "failed"
	case Left:
		return "left"
	default:
		return fmt.Sprintf("state %d", int(s))
	}
}

// A Member is one vat of the cluster, as this node sees it.
type Member struct {
	ID        transport.VatID
	Name      string
	Addresses []string // as last announced, also of a member that is gone
	State     State
}

// directory is the pure core of the package: announcements and obituaries in, changes out. It knows no
// memberlist, clock or lock; its owner serialises the calls and passes the time in.
//
// A vat is first admitted: its announcement is verified and its number remembered. memberlist may still
// turn the member down. Then it joins: it is Alive. It departs: Failed or Left; then it joins again, or is forgotten when
// room is needed. What always holds:
//   - the number remembered for a vat never falls while the vat is remembered;
//   - names and vats agree: names[e.name] == e exactly for the entries e that some vat has;
//   - a vat that is Alive is never forgotten.
type directory struct {
	self     transport.VatID
	selfName string
	limit    int // of vats
	vats     map[transport.VatID]*vatRecord
	names    map[string]*entry
}

// vatRecord is what is remembered of one identity.
type vatRecord struct {
	seq       uint64            // of the newest verified announcement
	statement [sha256.Size]byte // hash of what it said
	signature []byte
	entry     *entry // nil until it has joined
	admitted  time.Time
}

// entry is a vat as a member.
type entry struct {
	*announcement
	state State
	since time.Time // of state
}

// change is what a join or departure meant for a vat.
type change struct {
	id    transport.VatID
	name  string
	state State
}

// newDirectory returns a directory in which just the node itself lives.
func newDirectory(self *announcement, limit int, now time.Time) *directory {
	d := &directory{
		self:     self.id,
		selfName: self.name,
		limit:    limit,
		vats:     make(map[transport.VatID]*vatRecord),
		names:    make(map[string]*entry),
	}
	d.remember(self, now)
	d.join(self, now)
	return d
}

// admit decides whether a may be listened to. Whatever it accepts is proven (or plain among the plain), and
// older announcements of that vat are refused from then on. Its errors are *Refusal.
func (d *directory) admit(a *announcement, now time.Time) error {
	refuse := func(cause Cause, format string, args ...any) error {
		return &Refusal{Cause: cause, Name: a.name, ID: a.id, Detail: fmt.Sprintf(format, args...)}
	}
	if a.id.IsPlain() != d.self.IsPlain() {
		return refuse(WrongNamespace, "this cluster is of the kind of %s", d.self)
	}
	known := d.vats[a.id]
	if known != nil && a.seq < known.seq {
		return refuse(Stale, "seq %d, and %d has been seen", a.seq, known.seq)
	}
	// memberlist repeats every announcement many times; only the first costs a verification.
	if known == nil || !known.is(a) {
		if err := a.verify(); err != nil {
			return refuse(Forged, "%v", err)
		}
		if known != nil && a.seq == known.seq && known.statement != sha256.Sum256(a.statement()) {
			return refuse(Stale, "seq %d has been used for something else", a.seq)
		}
	}
	if holder := d.names[a.name]; holder != nil && holder.id != a.id && d.holds(holder, now) {
		return refuse(NameTaken, "it is %s's, who is %s", holder.id.Short(), holder.state)
	}
	if known == nil && !d.makeRoom() {
		return refuse(Full, "%d vats", len(d.vats))
	}
	d.remember(a, now)
	return nil
}

// is reports whether a is, to the byte, the announcement that was verified last.
func (v *vatRecord) is(a *announcement) bool {
	return v.seq == a.seq && bytes.Equal(v.signature, a.signature) && v.statement == sha256.Sum256(a.statement())
}

// holds reports whether e still keeps others from its name.
func (d *directory) holds(e *entry, now time.Time) bool {
	return e.state == Alive || !d.self.IsPlain() && now.Sub(e.since) < NameHold
}

func (d *directory) remember(a *announcement, now time.Time) {
	v := d.vats[a.id]
	if v == nil {
		v = &vatRecord{admitted: now}
		d.vats[a.id] = v
	}
	v.seq, v.signature, v.statement = a.seq, a.signature, sha256.Sum256(a.statement())
}

// makeRoom makes sure that one more vat fits, if need be by forgetting the one that has been gone for
// longest. With it goes its number: an old announcement of that vat could come back, and would be
// overtaken by its next start.
func (d *directory) makeRoom() bool {
	if len(d.vats) < d.limit {
		return true
	}
	var oldest transport.VatID
	var since time.Time
	for id, v := range d.vats {
		gone := v.admitted
		if v.entry != nil {
			if v.entry.state == Alive {
				continue
			}
			gone = v.entry.since
		}
		if oldest == "" || gone.Before(since) {
			oldest, since = id, gone
		}
	}
	if oldest == "" || oldest == d.self {
		return false
	}
	if e := d.vats[oldest].entry; e != nil {
		delete(d.names, e.name)
	}
	delete(d.vats, oldest)
	return true
}

// join makes the vat of an admitted announcement Alive. It reports a change where it was not before: a
// vat that only changed its name or its addresses is the same member as ever.
func (d *directory) join(a *announcement, now time.Time) (change, bool) {
	v := d.vats[a.id]
	if v == nil {
		// Admitted and joined are one step for memberlist, under one lock of its own.
		panic("cluster: a vat joined that was not admitted")
	}
	if former := d.names[a.name]; former != nil && former.id != a.id {
		d.vats[former.id].entry = nil
	}
	news := true
	if v.entry != nil {
		news = v.entry.state != Alive
		delete(d.names, v.entry.name)
	}
	v.entry = &entry{announcement: a, state: Alive, since: now}
	d.names[a.name] = v.entry
	return change{id: a.id, name: a.name, state: Alive}, news
}

// again reports whether a, which is about to join, is of a newer run of a vat that counts as Alive: whoever talks to
// the former run talks to nobody.
func (d *directory) again(a *announcement) bool {
	e := d.live(a.id)
	return e != nil && e.seq < a.seq
}

// depart records that the member called name is gone. A name that its vat has given up for another, or
// that is gone already, is no news.
func (d *directory) depart(name string, state State, now time.Time) (change, bool) {
	e := d.names[name]
	if e == nil || e.state != Alive {
		return change{}, false
	}
	e.state, e.since = state, now
	return change{id: e.id, name: name, state: state}, true
}

// live returns the entry of a vat that is Alive, or nil.
func (d *directory) live(id transport.VatID) *entry {
	if v := d.vats[id]; v != nil && v.entry != nil && v.entry.state == Alive {
		return v.entry
	}
	return nil
}

// nameOf is the name that a vat has or had, "" if it is not known.
func (d *directory) nameOf(id transport.VatID) string {
	if v := d.vats[id]; v != nil && v.entry != nil {
		return v.entry.name
	}
	return ""
}

// welcome reports whether the vat is a member, or was until a moment ago: see Admission.
func (d *directory) welcome(id transport.VatID, now time.Time) bool {
	v := d.vats[id]
	return v != nil && v.entry != nil && (v.entry.state == Alive || now.Sub(v.entry.since) < NameHold)
}

// missing returns those of ids that are not Alive.
func (d *directory) missing(ids []transport.VatID) []transport.VatID {
	return slices.DeleteFunc(slices.Clone(ids), func(id transport.VatID) bool { return d.live(id) != nil })
}

// members returns everyone that is remembered as a member, by name.
func (d *directory) members() []Member {
	out := make([]Member, 0, len(d.names))
	for _, e := range d.names {
		out = append(out, Member{ID: e.id, Name: e.name, Addresses: slices.Clone(e.addresses), State: e.state})
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}
