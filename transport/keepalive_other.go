//go:build !linux

package transport

import (
	"syscall"
	"time"
)

// giveUpAfter does nothing: the system has no such option, or another name for it.
func giveUpAfter(syscall.Conn, time.Duration) {}
