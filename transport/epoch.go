package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// NextEpoch returns the epoch of a start of the vat whose epochs are kept at path, for Config.Epoch: the time in
// nanoseconds, and more than any before, also where the clock was set back. It is on disk when NextEpoch returns. Only
// one process at a time may use a path.
//
// A file that holds no epoch is an error, and left as it is. Where it was lost, the time alone counts.
func NextEpoch(path string) (uint64, error) {
	next := timeEpoch()
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		last, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("transport: epoch file %s: %w; remove it if this machine's clock is right", path, err)
		}
		next = max(next, last+1)
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("transport: epoch file: %w", err)
	}
	if err := writeFile(path, strconv.FormatUint(next, 10)+"\n"); err != nil {
		return 0, fmt.Errorf("transport: epoch file %s: %w", path, err)
	}
	return next, nil
}

// writeFile replaces the file at path, whole or not at all.
func writeFile(path, text string) error {
	dir := filepath.Dir(path)
	temp, err := writeTemp(dir, []byte(text))
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(dir)
}

func timeEpoch() uint64 { return uint64(time.Now().UnixNano()) }
