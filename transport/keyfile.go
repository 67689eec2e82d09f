package transport

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

const (
	pemType = "PRIVATE KEY" // PKCS #8

	// maxKeyFile is many times the 119 bytes of a key in PEM.
	maxKeyFile = 4 << 10

	// othersMayRead are the mode bits that a private key must not have.
	othersMayRead = 0o077
)

// A KeyFileError says why a key file is not used, and what to do about it.
type KeyFileError struct {
	Path    string
	Problem string
	Remedy  string
}

func (e *KeyFileError) Error() string {
	return fmt.Sprintf("transport: key file %s %s; %s", e.Path, e.Problem, e.Remedy)
}

// LoadIdentity reads the key at path, PKCS #8 in PEM, and makes one where there is none: with mode 0600,
// and whole or not at all, whatever crashes, or is started at the same time. A missing folder is made too,
// for its owner alone. Where path is a symbolic link, what it points to counts.
//
// A file that others can read, that is no regular file, or that holds anything but one Ed25519 key gives a
// *KeyFileError and is left as it is.
func LoadIdentity(path string) (*Identity, error) {
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKey(path); err != nil {
			return nil, fmt.Errorf("transport: making key file %s: %w", path, err)
		}
		// Read back rather than kept: someone else's file may have won.
		key, err = readKey(path)
	}
	if err != nil {
		return nil, err
	}
	return newIdentity(key)
}

func readKey(path string) (ed25519.PrivateKey, error) {
	// Not to hang where path is a named pipe, as opening one would otherwise.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("transport: key file: %w", err)
	}
	defer f.Close()
	// All is asked of the open file: between two looks at a path there may be another file behind it.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("transport: key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &KeyFileError{path, "is no regular file (" + info.Mode().Type().String() + ")", "name another path"}
	}
	// Windows knows no such bits: os reports 0666 for every file there.
	if mode := info.Mode().Perm(); mode&othersMayRead != 0 && runtime.GOOS != "windows" {
		return nil, &KeyFileError{path, fmt.Sprintf("has mode %04o, so that others than its owner get at the key", mode), "run: chmod 600 " + path}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("transport: key file: %w", err)
	}
	return parseKey(path, text)
}

func parseKey(path string, text []byte) (ed25519.PrivateKey, error) {
	malformed := func(what string) error {
		return &KeyFileError{path, what, "restore it from a backup, or move it away to get a new key, and with it a new VatID"}
	}
	if len(text) > maxKeyFile {
		return nil, malformed(fmt.Sprintf("is larger than %d bytes", maxKeyFile))
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, malformed("is not one PEM block of type " + pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, malformed("does not hold a PKCS #8 key: " + err.Error())
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, malformed(fmt.Sprintf("holds a %T, not an Ed25519 key", parsed))
	}
	return key, nil
}

// createKey puts a new key at path, unless something is there already, which is no error. The key is
// written elsewhere first and linked into place, since linking, unlike renaming, never replaces a file.
func createKey(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	temp, err := writeTemp(dir, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	if err != nil {
		return err
	}
	defer os.Remove(temp)
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

// writeTemp leaves text on disk in a file of its own in dir. os.CreateTemp gives it mode 0600.
func writeTemp(dir string, text []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".vatkey-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(text); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), nil
}

// syncDir makes the new name in dir survive a crash.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a folder cannot be opened for that there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
