// Package simapi has the interface of the simulation's objects. It promises nothing to anyone else.
package simapi
