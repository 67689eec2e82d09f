package transport

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestIdentitySigns(t *testing.T) {
	id := newIdentityT(t)
	key, ok := id.ID().PublicKey()
	if !ok {
		t.Fatalf("%q has no key", id.ID())
	}
	message := []byte("label: message")
	if !ed25519.Verify(key, message, id.Sign(message)) {
		t.Error("the VatID does not verify what the identity signed")
	}
	if ed25519.Verify(key, []byte("label: other"), id.Sign(message)) {
		t.Error("the signature is good for another message")
	}
}

func TestLoadIdentityMakesOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data", "vat.key")
	first, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("the key file has mode %v, want a regular file of 0600", info.Mode())
	}
	second, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.ID() != second.ID() {
		t.Errorf("loaded %s after %s was made", second.ID(), first.ID())
	}
	wantOnly(t, filepath.Dir(path), "vat.key")
}

// wantOnly checks that nothing was left behind.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	var got []string
	for _, e := range must(os.ReadDir(dir)) {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("in %s are %v, want %v", dir, got, names)
	}
}

func TestLoadIdentityTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vat.key")
	const n = 8
	ids := make([]VatID, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if id, err := LoadIdentity(path); err != nil {
				t.Errorf("LoadIdentity: %v", err)
			} else {
				ids[i] = id.ID()
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one file, two identities: %s and %s", ids[0], id)
		}
	}
	wantOnly(t, filepath.Dir(path), "vat.key")
}

func TestLoadIdentityRefusesReadable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no mode bits for group and others")
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o601, 0o666} {
		path := filepath.Join(t.TempDir(), "vat.key")
		if _, err := LoadIdentity(path); err != nil {
			t.Fatal(err)
		}
		before := must(os.ReadFile(path))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadIdentity(path)
		var bad *KeyFileError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: %v, want a *KeyFileError that says what to do", mode, err)
		}
		if !bytes.Equal(must(os.ReadFile(path)), before) {
			t.Errorf("mode %04o: the file was changed", mode)
		}
	}
}

func TestLoadIdentityRefusesMalformed(t *testing.T) {
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	good := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: must(x509.MarshalPKCS8PrivateKey(edKey))})
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for name, text := range map[string][]byte{
		"empty":       {},
		"no PEM":      []byte("secret"),
		"half":        good[:len(good)/2],
		"two keys":    append(bytes.Clone(good), good...),
		"tail":        append(bytes.Clone(good), "x"...),
		"other type":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: must(x509.MarshalPKCS8PrivateKey(edKey))}),
		"not PKCS #8": pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: edKey}),
		"other kind":  pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: must(x509.MarshalPKCS8PrivateKey(ecKey))}),
		"huge":        append(bytes.Clone(good), bytes.Repeat([]byte("\n"), maxKeyFile)...),
	} {
		path := filepath.Join(t.TempDir(), "vat.key")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var bad *KeyFileError
		if _, err := LoadIdentity(path); !errors.As(err, &bad) {
			t.Errorf("%s: %v, want *KeyFileError", name, err)
		}
		if !bytes.Equal(must(os.ReadFile(path)), text) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestLoadIdentityRefusesIrregular(t *testing.T) {
	var bad *KeyFileError
	if _, err := LoadIdentity(t.TempDir()); !errors.As(err, &bad) {
		t.Errorf("a folder: %v, want *KeyFileError", err)
	}
	dangling := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(t.TempDir(), "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dangling); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to nowhere: %v, want fs.ErrNotExist", err)
	}
}
