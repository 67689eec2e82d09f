//go:build race && (amd64 || arm64)

package transport

import (
	"runtime"
	"unsafe"
)

// throughSystem stands for what goes from a write to a read through the system, for all connections.
var throughSystem byte

// wrote and hasRead tell the race detector what it knows of the system calls of package net: what was before a write is
// before what comes after a read.
func wrote()   { runtime.RaceReleaseMerge(unsafe.Pointer(&throughSystem)) }
func hasRead() { runtime.RaceAcquire(unsafe.Pointer(&throughSystem)) }
