package transport

// Features are what a vat can do beyond rpc.capnp's level 1, as bits of the schema's Feature.
type Features uint64

const (
	// FeatureHandoff is Provide, Accept and Disembargo.context.accept.
	FeatureHandoff Features = 1 << iota
	// FeatureKeptResults is Call.sendResultsTo.thirdParty with kept results, and early returns.
	FeatureKeptResults

	// AllFeatures is everything this version knows.
	AllFeatures = FeatureHandoff | FeatureKeptResults
)

// Has reports whether every feature of x is in f.
func (f Features) Has(x Features) bool { return f&x == x }

// Hello is what a vat says of itself at the start of a connection.
type Hello struct {
	ID       VatID    // who; proven over TLS, claimed in plain mode
	Name     string   // for people only, at most MaxNameBytes of printable text; may be empty
	Features Features // what it can do
	Epoch    uint64   // grows with each start of the vat
}
