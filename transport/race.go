//go:build race

package transport

// racing says that the race detector watches.
const racing = true
