package cluster

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func keyOf(letter byte) []byte { return bytes.Repeat([]byte{letter}, 32) }

// TestKeyRotation changes the key of three nodes step by step. In each step the nodes are of two minds, some before
// it and some after, and news have to come through all the same.
func TestKeyRotation(t *testing.T) {
	old, fresh := keyOf('o'), keyOf('n')
	// None may be taken for dead on a busy machine.
	calm := func(c *Config) {
		c.Keys, c.Timing.ProbeInterval, c.Timing.ProbeTimeout = [][]byte{old}, time.Second, 900*time.Millisecond
	}
	alice, bob, carol := three(t, calm)
	all := []*witness{alice, bob, carol}
	serial := 0
	news := func() {
		t.Helper()
		serial++
		cfg := configOf(fmt.Sprint("guest", serial))
		calm(&cfg)
		cfg.Keys, cfg.Join = alice.keyring.GetKeys(), []string{all[serial%3].GossipAddr()}
		guest := start(t, cfg)
		for _, w := range all {
			w.waits(guest.id)
			guest.waits(w.id)
		}
	}
	for _, keys := range [][][]byte{{old, fresh}, {fresh, old}, {fresh}} {
		for i, w := range all {
			if err := w.SetKeys(keys...); err != nil {
				t.Fatal(err)
			}
			if i != 1 {
				news()
			}
		}
	}
	// Who has only the old key stays outside.
	cfg := configOf("dave")
	cfg.Keys, cfg.Join = [][]byte{old}, []string{alice.GossipAddr()}
	if n, err := Start(t.Context(), cfg); err == nil {
		t.Error("joined with a key that was removed", n.Close())
	}
	for _, w := range all {
		w.waits(alice.id, bob.id, carol.id)
	}
}

func TestSetKeysRefuses(t *testing.T) {
	clear := start(t, configOf("clear"))
	if err := clear.SetKeys(keyOf('a')); err == nil {
		t.Error("a node in the clear took a key")
	}
	cfg := configOf("alice")
	cfg.Keys = [][]byte{keyOf('a')}
	alice := start(t, cfg)
	for name, keys := range map[string][][]byte{
		"none": nil, "short": {keyOf('b')[:7]}, "twice": {keyOf('b'), keyOf('b')}, "many": make([][]byte, maxKeys+1),
	} {
		var bad *ConfigError
		if err := alice.SetKeys(keys...); !errors.As(err, &bad) || bad.Field != "Keys" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := alice.keyring.GetKeys(); !slices.EqualFunc(got, cfg.Keys, bytes.Equal) {
		t.Errorf("the keys became %q", got)
	}
}

// TestSetRing: whatever the ring held, it ends up with the new list in order as to the first, and is never without
// a key that stays, nor read while it is written.
func TestSetRing(t *testing.T) {
	a, b, c, d := keyOf('a'), keyOf('b'), keyOf('c'), keyOf('d')
	for _, step := range [][2][][]byte{
		{{a}, {a, b}}, {{a, b}, {b, a}}, {{b, a}, {b}}, {{a, b, c}, {a, c}}, {{a, b, c}, {c}}, {{a, b, c}, {d}},
		{{a, b, c, d}, {d, b}}, {{a, b}, {c, a}}, {{a}, {a}},
	} {
		ring, err := memberlist.NewKeyring(step[0], step[0][0])
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var reader sync.WaitGroup
		reader.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				seen := map[byte]bool{}
				for _, key := range ring.GetKeys() {
					seen[key[0]] = true
				}
				for _, key := range step[1] {
					held := slices.ContainsFunc(step[0], func(k []byte) bool { return bytes.Equal(k, key) })
					if held && !seen[key[0]] {
						t.Errorf("%q to %q: %q was missing", step[0], step[1], key)
					}
				}
			}
		})
		if err := setRing(ring, step[1]); err != nil {
			t.Error(err)
		}
		close(stop)
		reader.Wait()
		got := ring.GetKeys()
		if len(got) != len(step[1]) || !bytes.Equal(got[0], step[1][0]) {
			t.Errorf("%q to %q: got %q", step[0], step[1], got)
		}
	}
}

func TestLoadKeys(t *testing.T) {
	text := func(keys ...[]byte) (s string) {
		for _, key := range keys {
			s += base64.StdEncoding.EncodeToString(key) + "\n"
		}
		return s
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // of the error
	}{
		"two":      {"# the new one\n" + text(keyOf('n')) + "\n" + text(keyOf('o')), 0o600, ""},
		"empty":    {"# nothing\n", 0o600, "no key"},
		"readable": {text(keyOf('n')), 0o644, "chmod 600"},
		"short":    {text([]byte("abc")), 0o600, "3 bytes"},
		"noise":    {text(keyOf('n')) + "secret!", 0o600, "line 2 is not base64"},
		"large":    {strings.Repeat("#\n", maxKeyFile), 0o600, "at most 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			keys, err := LoadKeys(path)
			if c.want == "" {
				if err != nil || !slices.EqualFunc(keys, [][]byte{keyOf('n'), keyOf('o')}, bytes.Equal) {
					t.Errorf("got %q, %v", keys, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := LoadKeys(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "make one by") {
		t.Errorf("no file: %v", err)
	}
}
