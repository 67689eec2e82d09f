package cluster

import (
	"errors"
	"reflect"

	"github.com/hashicorp/memberlist"
)

// stateReader tells a member that left from one that failed.
//
// memberlist knows, and does not say. Its EventDelegate gets a *memberlist.Node, whose State field looks like the
// answer and is always StateAlive: deadNode sets the State of the unexported nodeState that embeds the
// Node, and the one shadows the other. Nothing else exported carries it. Announcing the goodbye ourselves was
// considered: it would have to reach every member before the obituary does, which gossip cannot promise, and
// a drain would be cut now and then. So the field is read by reflection, which needs no unsafe, and its
// place is checked when the node starts: a memberlist built otherwise is refused, not misread.
type stateReader struct {
	nodes reflect.Value // the field nodeMap, a map[string]*nodeState
	state []int         // index of State in nodeState
}

// newStateReader fails if memberlist is not built as this package expects.
func newStateReader(list *memberlist.Memberlist) (*stateReader, error) {
	nodes := reflect.ValueOf(list).Elem().FieldByName("nodeMap")
	if !nodes.IsValid() || nodes.Kind() != reflect.Map || nodes.Type().Key().Kind() != reflect.String {
		return nil, errors.New("cluster: this memberlist keeps its members elsewhere than v0.7.0: build with that version")
	}
	elem := nodes.Type().Elem()
	if elem.Kind() != reflect.Pointer || elem.Elem().Kind() != reflect.Struct {
		return nil, errors.New("cluster: this memberlist keeps its members otherwise than v0.7.0: build with that version")
	}
	// The outer field is meant: FieldByName prefers the shallower of two that bear one name.
	field, ok := elem.Elem().FieldByName("State")
	if !ok || len(field.Index) != 1 || field.Type != reflect.TypeFor[memberlist.NodeStateType]() {
		return nil, errors.New("cluster: this memberlist keeps a member's state elsewhere than v0.7.0: build with that version")
	}
	return &stateReader{nodes: nodes, state: field.Index}, nil
}

// left reports whether the member said goodbye. It may be called only from memberlist's notifications,
// which hold the lock of what it reads.
func (r *stateReader) left(name string) bool {
	node := r.nodes.MapIndex(reflect.ValueOf(name))
	if !node.IsValid() || node.IsNil() {
		return false
	}
	return memberlist.NodeStateType(node.Elem().FieldByIndex(r.state).Int()) == memberlist.StateLeft
}
