package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// socketPath is a place for a Unix socket, in a folder whose path is short enough for one.
func socketPath(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("", "vat"))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return listenUnix + filepath.Join(dir, "s")
}

func listenTLSAt(t *testing.T, addr string, cfg Config) (Network, error) {
	t.Helper()
	n, err := ListenTLS(addr, newIdentityT(t), cfg)
	if err == nil {
		t.Cleanup(func() { n.Close() })
	}
	return n, err
}

func TestUnixSocketIsRemoved(t *testing.T) {
	at := socketPath(t)
	path := strings.TrimPrefix(at, listenUnix)
	for range 2 {
		n := must(listenTLSAt(t, at, Config{}))
		if got, want := n.Addrs(), "unix!"+path; len(got) != 1 || got[0] != want {
			t.Errorf("Addrs = %q, want %q", got, want)
		}
		n.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// TestUnixSocketLeftBehind: that of a killed process is replaced; that of a living one, and what is no socket, is not.
func TestUnixSocketLeftBehind(t *testing.T) {
	at := socketPath(t)
	path := strings.TrimPrefix(at, listenUnix)
	dead := must(net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}))
	dead.SetUnlinkOnClose(false)
	dead.Close()
	alice := must(listenTLSAt(t, at, Config{}))
	if _, err := listenTLSAt(t, at, Config{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one at the same path: %v, want EADDRINUSE", err)
	}
	connect(t, must(listenTLSAt(t, "", Config{})), alice)

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenTLSAt(t, listenUnix+file, Config{}); err == nil {
		t.Error("listens at a file")
	}
	if got := must(os.ReadFile(file)); string(got) != "precious" {
		t.Errorf("the file holds %q", got)
	}
	long := listenUnix + "/" + strings.Repeat("a", 200)
	if _, err := listenTLSAt(t, long, Config{}); err == nil || !strings.Contains(err.Error(), "201") {
		t.Errorf("a long path: %v", err)
	}
}

// TestDialSharesItsTime: an address that swallows packets leaves time for the good one behind it.
func TestDialSharesItsTime(t *testing.T) {
	hole := must(net.Listen("tcp", "127.0.0.1:0")) // takes connections, and never says anything
	defer hole.Close()
	alice, bob := listenTLS(t, Config{}), listenTLS(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	conn, err := alice.Dial(ctx, bob.LocalID(), append([]string{tcpScheme + hole.Addr().String()}, bob.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
