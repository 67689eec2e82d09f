package cluster

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/hashicorp/memberlist"
)

// Bounds of a list of keys.
const (
	maxKeys    = 8
	maxKeyFile = 4 << 10
)

// LoadKeys reads gossip keys from a file that nobody else may read: one in base64 on each line, the one that
// encrypts first; empty lines and those that begin with # do not count. Its errors are *ConfigError.
func LoadKeys(path string) ([][]byte, error) {
	bad := func(format string, args ...any) ([][]byte, error) {
		return nil, &ConfigError{"Keys", fmt.Sprintf("key file %s: ", path) + fmt.Sprintf(format, args...)}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return bad("%v: make one by: (umask 077; head -c 32 /dev/urandom | base64 > %s)", err, path)
	case !info.Mode().IsRegular() || info.Size() > maxKeyFile:
		return bad("want a regular file of at most %d bytes", maxKeyFile)
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows": // which reports 0666 for every file
		return bad("mode %04o lets others get at it: run: chmod 600 %s", info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return bad("%v", err)
	}
	var keys [][]byte
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil { // which may quote the key
			return bad("line %d is not base64", n)
		}
		keys = append(keys, key)
	}
	if err := checkKeys(keys); err != nil {
		return bad("%v", err)
	}
	if len(keys) == 0 {
		return bad("it holds no key")
	}
	return keys, nil
}

func checkKeys(keys [][]byte) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("%d keys, at most %d are allowed", len(keys), maxKeys)
	}
	for i, key := range keys {
		if memberlist.ValidateKey(key) != nil {
			return fmt.Errorf("key %d has %d bytes: use 16, 24 or 32 random ones", i+1, len(key))
		}
		if slices.ContainsFunc(keys[:i], func(other []byte) bool { return bytes.Equal(key, other) }) {
			return fmt.Errorf("key %d is there twice", i+1)
		}
	}
	return nil
}

// SetKeys replaces the gossip keys, while the gossip goes on: the first encrypts, each decrypts. To change the key
// without a gap, have every node take (old, new) first, then every node (new, old), then every node (new).
//
// It fails on a node that was started without keys, and then, or for a malformed key, nothing changes.
func (n *Node) SetKeys(keys ...[]byte) error {
	if n.keyring == nil {
		return errors.New("cluster: this node gossips in the clear: start it with Keys")
	}
	if len(keys) == 0 {
		return &ConfigError{"Keys", "none are left: a node cannot go back to gossip in the clear"}
	}
	if err := checkKeys(keys); err != nil {
		return &ConfigError{"Keys", err.Error()}
	}
	n.keysMu.Lock()
	defer n.keysMu.Unlock()
	return setRing(n.keyring, keys)
}

// setRing makes ring hold keys. A Keyring removes a key by shifting those behind it, in a slice that memberlist's
// goroutines read without its lock; all else it does is safe. So what is to go is moved to the end first, where it
// is not already, by using each of the others in turn: for some microseconds one that others may not know yet
// encrypts, and gossip makes up for packets that are lost.
func setRing(ring *memberlist.Keyring, keys [][]byte) error {
	for _, key := range keys {
		if err := ring.AddKey(slices.Clone(key)); err != nil {
			return err
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return err
	}
	stays := func(key []byte) bool {
		return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	held := slices.Clone(ring.GetKeys())
	if slices.ContainsFunc(held[:len(keys)], func(key []byte) bool { return !stays(key) }) {
		for _, key := range slices.Backward(keys) {
			if err := ring.UseKey(key); err != nil {
				return err
			}
		}
		held = slices.Clone(ring.GetKeys())
	}
	for _, key := range slices.Backward(held[len(keys):]) {
		if err := ring.RemoveKey(key); err != nil {
			return err
		}
	}
	return nil
}
