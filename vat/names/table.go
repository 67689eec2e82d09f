package names

import (
	"cmp"
	"maps"
	"slices"

	"github.com/vatwork/vatwork/transport"
)

// table is the pure core of the package: what is published here, what others say, and who wins. It knows no
// clock, lock or capability; its owner serialises the calls.
//
// What always holds:
//   - a name of own is claimed or held, and told to others only while it is held;
//   - version grows with every change of what is held, and each record has the version of its last change;
//   - of another node nothing is kept that is older than what it has said last.
type table struct {
	self    transport.VatID
	epoch   uint64
	version uint64
	stamp   uint64 // the last one given
	own     map[string]*own
	others  map[transport.VatID]*other
}

// own is a name that this node holds, or is about to.
//
// States: claimed, until all members have been asked; held; ended. beaten, in a claim: by whom, and it is going
// to be given up.
type own struct {
	Record
	held   bool
	beaten string
	pub    *publication // of the owner of the table; nil while claimed
}

// other is another node, as the cluster and it have told.
type other struct {
	alive   bool
	gone    string // how it went, where it is not alive
	heard   bool   // since it is alive: all that it holds
	epoch   uint64
	whole   uint64            // the version as of which it has last told all: what is not newer and not in records is gone
	records map[string]Record // with those that it has withdrawn since it was heard, as Absent
	// superseded are names that others have published since it is gone.
	superseded map[string]bool
}

// told is what a node says of the names that it holds.
type told struct {
	epoch, version uint64
	complete       bool
	records        []Record
}

func newTable(self transport.VatID, epoch uint64) *table {
	return &table{self: self, epoch: epoch, own: map[string]*own{}, others: map[transport.VatID]*other{}}
}

// begin makes a claim, or finds that the name is the publisher's already: then it is held.
func (t *table) begin(name string, publisher transport.VatID, now uint64) (*own, error) {
	if o := t.own[name]; o != nil {
		switch {
		case !o.held:
			return nil, failed("the name %q is being published by another", name)
		case o.Publisher != publisher:
			return nil, failed("the name %q is that of %s, who alone can replace it", name, o.Publisher.Short())
		}
		return o, nil
	}
	if r, ok := t.find(name); ok && t.others[r.Holder].alive {
		return nil, t.taken(r)
	}
	if len(t.own) >= MaxNames {
		return nil, overloaded("this node holds %d names: MaxNames allows no more", MaxNames)
	}
	if publisher != t.self && t.countOf(publisher) >= MaxNamesEach {
		return nil, overloaded("%s has published %d names: MaxNamesEach allows no more", publisher.Short(), MaxNamesEach)
	}
	t.stamp = max(now, t.stamp+1)
	o := &own{Record: Record{Name: name, State: Live, Holder: t.self, Publisher: publisher, Stamp: t.stamp}}
	t.own[name] = o
	return o, nil
}

func (t *table) countOf(publisher transport.VatID) (n int) {
	for _, o := range t.own {
		if o.Publisher == publisher {
			n++
		}
	}
	return n
}

func (t *table) taken(r Record) error {
	return failed("the name %q is held at node %s, published by %s", r.Name, r.Holder.Short(), r.Publisher.Short())
}

// claimed answers the claim of another: whether the name is free, and if not, why. A claim of our own that comes
// after it is beaten. Of two nodes that claim at once each asks the other before it holds the name, so at least
// one of the two sees both claims here, and both decide alike.
func (t *table) claimed(from transport.VatID, name string, stamp uint64) (free bool, reason string) {
	o := t.own[name]
	switch {
	case o == nil:
		return true, ""
	case o.held:
		return false, t.taken(o.Record).Error()
	case cmp.Or(cmp.Compare(stamp, o.Stamp), cmp.Compare(from, t.self)) < 0:
		o.beaten = failed("the name %q is being published at node %s", name, from.Short()).Error()
		return true, ""
	}
	return false, failed("the name %q is being published at node %s", name, t.self.Short()).Error()
}

// establish makes a claim that all have been asked about a name that is held. Else it is over.
func (t *table) establish(o *own) error {
	if o.beaten != "" {
		delete(t.own, o.Name)
		return failed("%s", o.beaten)
	}
	o.held = true
	t.change(o)
	t.supersede(o.Name)
	return nil
}

// supersede has a name that nodes had which are gone be theirs no longer: somebody else holds it now. What they had told
// is kept, for they may come back.
func (t *table) supersede(name string) {
	for _, x := range t.others {
		if _, ok := x.records[name]; ok && !x.alive {
			x.superseded[name] = true
		}
	}
}

// change gives a name the next version.
func (t *table) change(o *own) {
	t.version++
	o.Version = t.version
}

// end takes a name out that was claimed or held.
func (t *table) end(o *own) {
	if t.own[o.Name] == o {
		t.version++
		delete(t.own, o.Name)
	}
}

// news is what to tell of these names, or of all.
func (t *table) news(names map[string]bool, all bool) told {
	n := told{epoch: t.epoch, version: t.version, complete: all}
	if all {
		for _, o := range t.own {
			if o.held {
				n.records = append(n.records, o.Record)
			}
		}
		return n
	}
	for name := range names {
		if o := t.own[name]; o != nil && o.held {
			n.records = append(n.records, o.Record)
		} else {
			n.records = append(n.records, Record{Name: name, Holder: t.self, Version: t.version})
		}
	}
	return n
}

// A conflict is a name that is held here and elsewhere.
type conflict struct {
	own  *own
	with Record
	lost bool // ours is to end
}

// merge takes over what from says, and returns the names of which something has changed, and those that are held at
// both. What is older than what it has said before is left out.
func (t *table) merge(from transport.VatID, n told) (changed []string, conflicts []conflict, err error) {
	x := t.others[from]
	if x == nil || n.epoch < x.epoch {
		return nil, nil, nil
	}
	next, whole := map[string]Record{}, uint64(0)
	if n.epoch == x.epoch {
		if whole = x.whole; n.complete && n.version < whole {
			return nil, nil, nil
		}
		for name, r := range x.records {
			if !n.complete || r.Version > n.version {
				next[name] = r
			}
		}
	}
	for _, r := range n.records {
		if r.Version > next[r.Name].Version && (n.complete || r.Version > whole) {
			next[r.Name] = r
		}
	}
	if n.complete {
		whole = n.version
	}
	if len(next) > 2*MaxNames {
		return nil, nil, overloaded("%s holds and has withdrawn %d names: want all told anew", from.Short(), len(next))
	}
	for name, r := range next {
		if x.records[name] != r {
			changed = append(changed, name)
		}
		if r.State == Live {
			t.supersede(name)
		}
		if c, ok := t.meets(r); ok {
			conflicts = append(conflicts, c)
		}
	}
	for name := range x.records {
		if _, ok := next[name]; !ok {
			changed = append(changed, name)
		}
	}
	x.heard = n.complete || x.heard && n.epoch == x.epoch
	x.epoch, x.whole, x.records = n.epoch, whole, next
	return changed, conflicts, nil
}

// meets compares what another node holds with what we have.
func (t *table) meets(r Record) (conflict, bool) {
	o := t.own[r.Name]
	switch {
	case o == nil || r.State == Absent:
		return conflict{}, false
	case !o.held:
		o.beaten = t.taken(r).Error()
		return conflict{}, false
	}
	return conflict{o, r, r.before(o.Record)}, true
}

// forget takes back what a node is said to hold, where it has told us that it does not.
func (t *table) forget(r Record) {
	if x := t.others[r.Holder]; x != nil && x.records[r.Name] == r {
		delete(x.records, r.Name)
	}
}

// joined says that a node is there, and whether it is one of which names were known.
func (t *table) joined(id transport.VatID) (known bool) {
	x := t.others[id]
	if x == nil {
		x = &other{records: map[string]Record{}}
		t.others[id] = x
	}
	x.alive, x.heard, x.superseded = true, false, map[string]bool{}
	return len(x.records) > 0
}

// departed says that a node is gone, and returns the names that go with it.
func (t *table) departed(id transport.VatID, how string) []string {
	x := t.others[id]
	if x == nil {
		return nil
	}
	x.alive, x.heard, x.gone = false, false, how
	return slices.Collect(maps.Keys(x.records))
}

// forgetGone forgets a node that is gone, and returns the names that were its.
func (t *table) forgetGone(id transport.VatID) []string {
	x := t.others[id]
	if x == nil || x.alive {
		return nil
	}
	delete(t.others, id)
	return slices.Collect(maps.Keys(x.records))
}

// alive lists the other nodes that are there; unheard those of them whose names are not all known.
func (t *table) alive() (ids, unheard []transport.VatID) {
	for id, x := range t.others {
		if x.alive {
			ids = append(ids, id)
		}
		if x.alive && !x.heard {
			unheard = append(unheard, id)
		}
	}
	return ids, unheard
}

// find is what is known of a name: of several the one that wins.
func (t *table) find(name string) (Record, bool) {
	var best Record
	found := false
	consider := func(r Record) {
		if r.State != Absent && (!found || r.before(best)) {
			best, found = r, true
		}
	}
	if o := t.own[name]; o != nil && o.held {
		consider(o.Record)
	}
	for _, x := range t.others {
		if r, ok := x.records[name]; ok && !x.superseded[name] {
			consider(x.now(r))
		}
	}
	return best, found
}

// now is a record of x as it is, x being gone or not.
func (x *other) now(r Record) Record {
	if !x.alive && r.State == Live {
		r.State, r.Why = Gone, x.gone
	}
	return r
}

// names lists all that are known.
func (t *table) names() []string {
	all := map[string]bool{}
	for name, o := range t.own {
		if o.held {
			all[name] = true
		}
	}
	for _, x := range t.others {
		for name, r := range x.records {
			if r.State != Absent && !x.superseded[name] {
				all[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}
