package transport

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpAfter bounds how long what was sent may stay unacknowledged: while something is, the system does not probe, and
// tries again for a quarter of an hour. An error says that the connection is closed already.
func giveUpAfter(sock syscall.Conn, after time.Duration) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
	})
}
