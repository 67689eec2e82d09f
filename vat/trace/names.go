package trace

import (
	"strconv"
	"sync"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/schemas"
	"capnproto.org/go/capnp/v3/std/capnp/schema"
)

// names finds interfaces and methods by their numbers. It asks the registry once for each interface: a
// schema is compressed, and a tap is called for every message.
type names struct {
	registry *schemas.Registry // nil: nothing is registered
	mu       sync.Mutex
	known    map[uint64]interfaceNames // bounded by maxInterfaces
}

// maxInterfaces bounds what a peer can make us remember by calling interfaces that do not exist.
const maxInterfaces = 4096

type interfaceNames struct {
	name    string
	methods []string
}

// lookup returns the names of a method, or its numbers where no schema tells them.
func (n *names) lookup(interfaceID uint64, methodID uint16) (iface, method string) {
	in := n.find(interfaceID)
	iface, method = in.name, strconv.Itoa(int(methodID))
	if iface == "" {
		iface = "0x" + strconv.FormatUint(interfaceID, 16)
	}
	if int(methodID) < len(in.methods) {
		method = in.methods[methodID]
	}
	return iface, method
}

func (n *names) find(id uint64) interfaceNames {
	n.mu.Lock()
	defer n.mu.Unlock()
	in, ok := n.known[id]
	if ok || n.registry == nil {
		return in
	}
	if data, err := n.registry.Find(id); err == nil {
		in = readInterface(data, id)
	}
	if len(n.known) < maxInterfaces {
		if n.known == nil {
			n.known = make(map[uint64]interfaceNames)
		}
		n.known[id] = in
	}
	return in
}

// readInterface reads the names from a CodeGeneratorRequest. What it cannot read has no name.
func readInterface(data []byte, id uint64) interfaceNames {
	msg, err := capnp.Unmarshal(data)
	if err != nil {
		return interfaceNames{}
	}
	request, err := schema.ReadRootCodeGeneratorRequest(msg)
	if err != nil {
		return interfaceNames{}
	}
	nodes, err := request.Nodes()
	if err != nil {
		return interfaceNames{}
	}
	for i := range nodes.Len() {
		node := nodes.At(i)
		if node.Id() == id && node.Which() == schema.Node_Which_interface {
			return readNode(node)
		}
	}
	return interfaceNames{}
}

func readNode(node schema.Node) interfaceNames {
	var in interfaceNames
	name, err := node.DisplayName()
	if prefix := int(node.DisplayNamePrefixLength()); err == nil && prefix <= len(name) {
		in.name = name[prefix:] // without the file, and without the scopes it is nested in
	}
	methods, err := node.Interface().Methods()
	if err != nil {
		return in
	}
	for i := range methods.Len() {
		name, err := methods.At(i).Name()
		if err != nil {
			return in
		}
		in.methods = append(in.methods, name)
	}
	return in
}
