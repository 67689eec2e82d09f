// Package townapi has the interfaces of the tests of a whole cluster.
package townapi
