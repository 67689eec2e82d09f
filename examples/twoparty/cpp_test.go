package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// TestCpp builds the program in cpp and has it call a vat, where the C++ library is installed.
func TestCpp(t *testing.T) {
	for _, tool := range []string{"capnp", "capnpc-c++", "g++", "pkg-config"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s: the C++ side of the example is not tested", tool)
		}
	}
	if exec.Command("pkg-config", "--exists", "capnp-rpc").Run() != nil {
		t.Skip("pkg-config does not know capnp-rpc: libcapnp-dev is not installed")
	}
	folder := t.TempDir()
	std := command(t, "go", "list", "-m", "-f", "{{.Dir}}", "capnproto.org/go/capnp/v3")
	command(t, "capnp", "compile", "-I"+filepath.Join(std, "std"), "-oc++:"+folder,
		"--src-prefix=../hello/greeting", "../hello/greeting/greeting.capnp")
	program := filepath.Join(folder, "greet")
	command(t, "g++", append([]string{"-std=c++17", "-I" + folder, "-o", program, "cpp/greet.c++",
		filepath.Join(folder, "greeting.capnp.c++")}, strings.Fields(command(t, "pkg-config", "--cflags", "--libs", "capnp-rpc"))...)...)

	network, err := transport.NewMemory().Vat("example", transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vat.New(vat.Config{Network: network, Bootstrap: capnp.Client(greeting.Greeter_ServerToClient(greeter{"the vat"}))})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	l, done, err := listen(v, filepath.Join(folder, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := command(t, program, "unix:"+l.Addr().String()), "Hello, C++, this is the vat."; got != want {
		t.Errorf("the program printed %q, want %q", got, want)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// command runs a command to its end and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}
