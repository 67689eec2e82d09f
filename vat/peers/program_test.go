package peers

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// built is the C++ program, made when the first test wants it.
var built struct {
	once sync.Once
	dir  string
	skip string // what is missing
	err  error
}

// program is the path of the C++ program. The test is skipped where the compiler or the library is not there.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(build)
	switch {
	case built.skip != "":
		t.Skip("no C++ peer: " + built.skip)
	case built.err != nil:
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "peer")
}

func build() {
	for _, tool := range []string{"capnp", "capnpc-c++", "g++", "pkg-config", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			built.skip = tool + " is not installed"
			return
		}
	}
	flags, err := output("", "pkg-config", "--cflags", "--libs", "capnp-rpc")
	if err != nil {
		built.skip = "pkg-config does not know capnp-rpc: libcapnp-dev is not installed"
		return
	}
	if built.dir, built.err = os.MkdirTemp("", "peers"); built.err != nil {
		return
	}
	std, err := output("", "go", "list", "-m", "-f", "{{.Dir}}", "capnproto.org/go/capnp/v3")
	if err != nil {
		built.err = err
		return
	}
	here, err := filepath.Abs("cpp")
	if err != nil {
		built.err = err
		return
	}
	for _, schema := range []string{"../internal/peerapi/peerapi.capnp", "../../examples/threeparty/threeparty.capnp"} {
		_, err = output("", "capnp", "compile", "-I"+filepath.Join(std, "std"), "-oc++:"+built.dir,
			"--src-prefix="+filepath.Dir(schema), schema)
		if err != nil {
			built.err = err
			return
		}
	}
	args := []string{"-std=c++17", "-O0", "-I.", "-o", "peer", filepath.Join(here, "peer.c++"),
		"peerapi.capnp.c++", "threeparty.capnp.c++"}
	_, built.err = output(built.dir, "g++", append(args, strings.Fields(flags)...)...)
}

// output runs a command in dir and returns what it printed.
func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

func dropProgram() {
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}

// A process is one run of the program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string // what it prints, closed at its end
	stderr bytes.Buffer
	exit   chan error
}

// start runs the program. At the end of the test its input is closed, and it must then end well, unless it was
// waited for or killed.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, lines: make(chan string, 1024), exit: make(chan error, 1)}
	p.cmd = exec.Command(program(t), args...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
		p.exit <- p.cmd.Wait()
		close(p.exit)
	}()
	t.Cleanup(func() {
		p.in.Close()
		p.wait()
	})
	return p
}

// wait waits for the end, which has to be a good one. Further calls do nothing.
func (p *process) wait() {
	p.t.Helper()
	select {
	case err := <-p.exit:
		if err != nil {
			p.t.Errorf("%v: %v\n%s", p.cmd.Args[1:], err, &p.stderr)
		}
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exit
		p.t.Errorf("%v hangs\n%s", p.cmd.Args[1:], &p.stderr)
	}
}

// kill ends it at once.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
	<-p.exit
}

// line is the next that it prints.
func (p *process) line() string {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("%v ended: %v\n%s", p.cmd.Args[1:], <-p.exit, &p.stderr)
		}
		return l
	case <-time.After(patience):
		p.t.Fatalf("%v prints nothing", p.cmd.Args[1:])
		return ""
	}
}

func (p *process) wantLines(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if l := p.line(); l != w {
			p.t.Fatalf("%v printed %q, want %q", p.cmd.Args[1:], l, w)
		}
	}
}

// address is where it serves, which it prints first.
func (p *process) address() string {
	p.t.Helper()
	port, ok := strings.CutPrefix(p.line(), "port ")
	if !ok {
		p.t.Fatal("no port")
	}
	return "127.0.0.1:" + port
}
