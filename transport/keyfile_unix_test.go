//go:build unix

package transport

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a named pipe blocks until somebody writes to it, unless care is taken.
func TestLoadIdentityRefusesPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var bad *KeyFileError
	if _, err := LoadIdentity(pipe); !errors.As(err, &bad) {
		t.Errorf("a named pipe: %v, want *KeyFileError", err)
	}
}
