//go:build amd64 || arm64

package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// A quickSocket reads and writes without telling Go's scheduler of the system calls, which do not block: the scheduler would
// wake a thread that watches how long each takes, once the process had nothing else to do, and take the processor away from
// one that another process has interrupted. Processes that call each other one call at a time pay most for that.
//
// What may take long because it is large goes the usual way, for meanwhile nothing else could run on that processor, nor a
// garbage collection begin. One goroutine at a time may read, and one write.
type quickSocket struct {
	socket
	in, out transfer
}

// quickBytes is the most that is read or written quickly at a time.
const quickBytes = 64 << 10

// A transfer is one direction, and what is under way there.
type transfer struct {
	op, call    string // what it is called, and the system call
	trap, flags uintptr
	p           []byte
	n           int
	errno       syscall.Errno
	// Made once, for each function is allocated.
	try  func(fd uintptr) (done bool)
	when func(try func(fd uintptr) (done bool)) error // has it tried again whenever it may be done
}

// quick is sock with quick reads and writes, where it is known to be one of the system's own.
func quick(sock socket) socket {
	switch sock.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return sock
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return sock // it is closed, as whoever reads will see
	}
	q := &quickSocket{
		socket: sock,
		in:     transfer{op: "read", call: "recvfrom", trap: syscall.SYS_RECVFROM, flags: syscall.MSG_DONTWAIT, when: raw.Read},
		out:    transfer{op: "write", call: "sendto", trap: syscall.SYS_SENDTO, flags: syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL, when: raw.Write},
	}
	q.in.try, q.out.try = q.in.once, q.out.once
	return q
}

// once does what can be done now, and says whether that is something.
func (t *transfer) once(fd uintptr) (done bool) {
	for {
		n, _, errno := syscall.RawSyscall6(t.trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)), t.flags, 0, 0)
		switch errno {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		}
		t.n, t.errno = int(n), errno
		return true
	}
}

// Read implements net.Conn.
func (q *quickSocket) Read(p []byte) (int, error) {
	if len(p) == 0 || len(p) > quickBytes {
		return q.socket.Read(p)
	}
	n, err := q.move(&q.in, p)
	hasRead()
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (q *quickSocket) Write(p []byte) (written int, err error) {
	if len(p) > quickBytes {
		return q.socket.Write(p)
	}
	wrote()
	for err == nil && len(p) > 0 {
		var n int
		n, err = q.move(&q.out, p)
		written, p = written+n, p[n:]
	}
	return written, err
}

// move waits until some of p has been moved.
func (q *quickSocket) move(t *transfer, p []byte) (int, error) {
	t.p, t.n, t.errno = p, 0, 0
	err := t.when(t.try)
	t.p = nil
	if err == nil && t.errno == 0 {
		return t.n, nil
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) { // closed, or past its deadline
		err = op.Err
	} else if err == nil {
		err = os.NewSyscallError(t.call, t.errno)
	}
	return 0, &net.OpError{Op: t.op, Net: q.LocalAddr().Network(), Source: q.LocalAddr(), Addr: q.RemoteAddr(), Err: err}
}
