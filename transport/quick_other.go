//go:build !linux || (!amd64 && !arm64)

package transport

// quick is sock: system calls are announced as usual.
func quick(sock socket) socket { return sock }
