//go:build race

package bench

// racing says that the race detector watches, with which pools drop some of what they are given.
const racing = true
