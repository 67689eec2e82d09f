// Package play is the interface that the objects of scenario files have. It is for tests alone, and promises
// nothing but what its schema says.
package play
