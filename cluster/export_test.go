package cluster

// For the tests of whole nodes, which are outside the package.

// SetReaches splits the network that c's node gossips over.
func (c *Config) SetReaches(reaches func(address string) bool) { c.reaches = reaches }

// AsChild has TestMain run f first, and test nothing if it returns true.
func AsChild(f func() bool) { asChild = f }
