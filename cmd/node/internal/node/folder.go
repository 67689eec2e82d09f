package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vatwork/vatwork/cmd/node/internal/config"
	"github.com/vatwork/vatwork/transport"
)

// Files of a data folder.
const (
	lockName  = "lock"
	epochName = "epoch"
	keyName   = "key.pem"
)

// A folder is a data folder that this process has to itself: it holds the lock, which ends with the process, however
// that ends.
type folder struct {
	path string
	lock *os.File
}

// openFolder makes the folder if it is not there, and takes its lock.
func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data %s: the node has to write there: %w", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who, _ := io.ReadAll(io.LimitReader(lock, 32))
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("--data %s: another node runs on it (process %s): stop that, or give this one a folder of its own",
				path, strings.TrimSpace(string(who)))
		}
		return nil, fmt.Errorf("--data %s: locking it: %w", path, err)
	}
	f := &folder{path, lock}
	if err := f.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("--data %s: %w", path, err), f.close())
	}
	return f, nil
}

// sign writes into the lock who holds it.
func (f *folder) sign() error {
	if err := f.lock.Truncate(0); err != nil {
		return err
	}
	_, err := f.lock.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}

// close lets go of the lock. The file stays: were it removed, a third node could lock a new one while a second
// still waits for this.
func (f *folder) close() error { return f.lock.Close() }

// checkFolder says whether a node could work with the folder. It makes nothing.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		parent := filepath.Dir(filepath.Clean(path))
		if parent == path {
			return fmt.Errorf("--data: %w", err)
		}
		return checkFolder(parent)
	}
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("--data: %s is no folder", path)
	}
	const write, search = 2, 1
	if err := syscall.Access(path, write|search); err != nil {
		return fmt.Errorf("--data: the node has to write in %s: %w", path, err)
	}
	return nil
}

// Check says whether a node could start with cfg, which has come from config.Load, as far as that can be known without
// making anything.
func Check(cfg config.Config) error {
	if err := checkFolder(cfg.Data); err != nil {
		return err
	}
	path := filepath.Join(cfg.Data, keyName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil // one will be made
	}
	_, err := transport.LoadIdentity(path)
	return err
}
