// Package testapi has the interfaces of the engine's own tests. It promises nothing to anyone else.
package testapi
