package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// socketName is the socket's, in the data folder.
const socketName = "control.sock"

// Listen opens the control socket of the data folder, mode 0600. What an earlier run left there is removed: the caller
// holds the lock of the folder.
func Listen(folder string) (net.Listener, error) {
	path := filepath.Join(folder, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// A socket has no other way to be born with a mode. The node makes no other file meanwhile.
	before := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(before)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("control socket: the path %s is too long for a socket (about 100 bytes): choose a shorter --data", path)
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// A NotRunningError says that no node listens on the control socket.
type NotRunningError struct {
	Folder string
	Err    error
}

func (e *NotRunningError) Error() string {
	return fmt.Sprintf("no node runs on %s: start one with: vatnode run --data %s (%v)", e.Folder, e.Folder, e.Err)
}

func (e *NotRunningError) Unwrap() error { return e.Err }

// A Connection is one to the node of a data folder.
type Connection struct {
	Control Control
	vat     *vat.Vat
}

// Dial connects to the node of the data folder. The caller closes the connection.
func Dial(ctx context.Context, folder string) (*Connection, error) {
	// A vat of its own, that listens nowhere: what the node gives out is called through it.
	network, err := transport.ListenPlain("", "vatnode-command", transport.Config{})
	if err != nil {
		return nil, err
	}
	v, err := vat.New(vat.Config{Network: network})
	if err != nil {
		return nil, errors.Join(err, network.Close())
	}
	c, err := v.DialTwoParty(ctx, "unix", filepath.Join(folder, socketName))
	if err != nil {
		err = errors.Join(err, v.Close())
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, &NotRunningError{folder, err}
		}
		return nil, err
	}
	return &Connection{Control(c), v}, nil
}

// Lost tells, once, when the connection is lost, and why.
func (c *Connection) Lost(ctx context.Context) <-chan error {
	return c.vat.Watch(ctx, capnp.Client(c.Control))
}

// Close ends the connection.
func (c *Connection) Close() error {
	c.Control.Release()
	return c.vat.Close()
}
