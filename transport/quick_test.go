package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Quick sockets do what the system's do, errors included: each case runs on both.
func TestQuickSocket(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for name, over := range map[string]func(socket) socket{"usual": func(s socket) socket { return s }, "quick": quick} {
			for what, run := range map[string]func(t *testing.T, a, b socket){
				"bytes go both ways, in order":    quickBoth,
				"the end is io.EOF":               quickEnd,
				"a deadline ends a read":          quickReadDeadline,
				"a deadline ends a write":         quickWriteDeadline,
				"closing ends a read and a write": quickClose,
				"who is hung up on is told":       quickReset,
			} {
				t.Run(network+"/"+name+"/"+what, func(t *testing.T) {
					a, b := sockets(t, network)
					run(t, over(a), over(b))
				})
			}
		}
	}
}

// sockets are the ends of a connection.
func sockets(t *testing.T, network string) (a, b socket) {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "socket")
	}
	l := must(net.Listen(network, at))
	defer l.Close()
	a = must(net.Dial(network, l.Addr().String())).(socket)
	b = must(l.Accept()).(socket)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// wants checks the error of an operation on s.
func wants(t *testing.T, s socket, op string, err, want error) {
	t.Helper()
	var told *net.OpError
	if !errors.Is(err, want) || !errors.As(err, &told) || told.Op != op || told.Net != s.LocalAddr().Network() {
		t.Errorf("%s: %v, want %v", op, err, want)
	}
}

func quickBoth(t *testing.T, a, b socket) {
	for _, size := range []int{0, 1, 100, 64 << 10, 64<<10 + 1, 3 << 20} { // more than the system keeps, in the end
		sent := make([]byte, size)
		for i := range sent {
			sent[i] = byte(i * 7 / 3)
		}
		for from, to := range map[socket]socket{a: b, b: a} {
			wrote := make(chan error, 1)
			go func() {
				n, err := from.Write(sent)
				if n != len(sent) && err == nil {
					err = io.ErrShortWrite
				}
				wrote <- err
			}()
			got := make([]byte, size)
			if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes: they came otherwise, or not: %v", size, err)
			}
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
}

func quickEnd(t *testing.T, a, b socket) {
	_ = must(a.Write([]byte("last")))
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("again: %v, want io.EOF", err)
	}
}

func quickReadDeadline(t *testing.T, a, _ socket) {
	if err := a.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := a.Read(make([]byte, 1))
	wants(t, a, "read", err, os.ErrDeadlineExceeded)
}

func quickWriteDeadline(t *testing.T, a, _ socket) {
	if err := a.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	wants(t, a, "write", fill(a), os.ErrDeadlineExceeded)
}

// fill writes to who does not read, until that fails.
func fill(s socket) (err error) {
	for p := make([]byte, 4<<10); err == nil; {
		_, err = s.Write(p)
	}
	return err
}

func quickClose(t *testing.T, a, _ socket) {
	read, filled := make(chan error), make(chan error)
	go func() {
		_, err := a.Read(make([]byte, 1))
		read <- err
	}()
	go func() { filled <- fill(a) }()
	a.Close()
	wants(t, a, "read", <-read, net.ErrClosed)
	wants(t, a, "write", <-filled, net.ErrClosed)
}

func quickReset(t *testing.T, a, b socket) {
	_ = must(b.Write([]byte("unread"))) // closing with that has TCP reset the connection
	_ = must(a.Write([]byte("unread")))
	if tcp, ok := b.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	b.Close()
	if err := fill(a); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: %v", err)
	}
}

// Only sockets of the system are quick: what a user has put around one may count, or change, what goes through.
func TestQuickOnlyWhatIsKnown(t *testing.T) {
	a, _ := sockets(t, "tcp")
	type counting struct{ socket }
	mine := counting{a}
	if quick(mine) != socket(mine) {
		t.Error("what a user has put around a socket is gone round")
	}
}
