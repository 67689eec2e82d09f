//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A village is nodes of real processes, each with a data folder below one, and the commands that ask them.
type village struct {
	t      *testing.T
	folder string
	nodes  map[string]*exec.Cmd
	logs   map[string]*bytes.Buffer
}

func newVillage(t *testing.T) *village {
	t.Helper()
	folder, err := os.MkdirTemp("", "vn") // a short path, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	v := &village{t, folder, map[string]*exec.Cmd{}, map[string]*bytes.Buffer{}}
	t.Cleanup(func() {
		for name := range v.nodes {
			v.kill(name)
		}
		if t.Failed() {
			for name, log := range v.logs {
				t.Logf("%s wrote:\n%s", name, log)
			}
		}
	})
	return v
}

func (v *village) data(name string) string { return filepath.Join(v.folder, name) }

// run starts a node, and waits until it answers.
func (v *village) run(name string, args ...string) {
	v.t.Helper()
	cmd, _, stderr := vatnode(v.t, v.folder, append([]string{"run", "--name", name, "--data", v.data(name)}, args...)...)
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.nodes[name], v.logs[name] = cmd, stderr
	eventually(v.t, name+" answers", func() bool { _, code := v.try(name, "id"); return code == exitOK })
}

// try has a node asked, and returns what is printed, also of errors.
func (v *village) try(node string, args ...string) (string, int) {
	v.t.Helper()
	cmd, stdout, stderr := vatnode(v.t, v.folder, append(args, "--data", v.data(node))...)
	code := exitCode(v.t, cmd.Run())
	return stdout.String() + stderr.String(), code
}

// want has a node asked until it gives that exit code, and a text in what is printed. On a busy machine a member may be
// declared failed that is not, and is back a moment later.
func (v *village) want(code int, says, node string, args ...string) {
	v.t.Helper()
	var got string
	var exit int
	for range 20 {
		if got, exit = v.try(node, args...); exit == code && strings.Contains(got, says) {
			return
		}
	}
	v.t.Errorf("vatnode %s, at %s: exit code %d, want %d, saying %q:\n%s", strings.Join(args, " "), node, exit, code, says, got)
}

// ask is what a node prints as JSON.
func (v *village) ask(to any, node string, args ...string) {
	v.t.Helper()
	got, code := v.try(node, append(args, "--json")...)
	if code != exitOK {
		v.t.Fatalf("vatnode %s, at %s: exit code %d:\n%s", strings.Join(args, " "), node, code, got)
	}
	if err := json.Unmarshal([]byte(got), to); err != nil {
		v.t.Fatalf("%v in:\n%s", err, got)
	}
}

func (v *village) gossip(name string) string {
	var s status
	v.ask(&s, name, "id")
	return s.Gossip
}

// sees waits until a node sees members in a state.
func (v *village) sees(node, state string, members ...string) {
	v.t.Helper()
	eventually(v.t, fmt.Sprintf("%s sees %v %s", node, members, state), func() bool {
		var all []member
		v.ask(&all, node, "members")
		n := 0
		for _, m := range all {
			for _, name := range members {
				if m.Name == name && m.State == state {
					n++
				}
			}
		}
		return n == len(members)
	})
}

func (v *village) kill(name string) {
	v.t.Helper()
	if err := v.nodes[name].Process.Kill(); err != nil {
		v.t.Error(err)
	}
	_ = v.nodes[name].Wait() // that it was killed
	delete(v.nodes, name)
}

// stop tells a node to stop, and wants it to do so in good order.
func (v *village) stop(name string, sig os.Signal) {
	v.t.Helper()
	cmd := v.nodes[name]
	if err := cmd.Process.Signal(sig); err != nil {
		v.t.Fatal(err)
	}
	if code := exitCode(v.t, cmd.Wait()); code != exitOK {
		v.t.Errorf("%s: exit code %d", name, code)
	}
	delete(v.nodes, name)
}

// dialogue is a `vatnode call` that goes on.
type dialogue struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	errs *bytes.Buffer
}

func (v *village) dialogue(node string, args ...string) *dialogue {
	v.t.Helper()
	cmd, _, stderr := vatnode(v.t, v.folder, append(append([]string{"call"}, args...), "--data", v.data(node))...)
	in, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	return &dialogue{v.t, cmd, in, bufio.NewScanner(out), stderr}
}

func (d *dialogue) say(text, want string) {
	d.t.Helper()
	if _, err := fmt.Fprintln(d.in, text); err != nil {
		d.t.Fatal(err)
	}
	if !d.out.Scan() || d.out.Text() != want {
		d.t.Fatalf("%s: answered %q, want %q\n%s", text, d.out.Text(), want, d.errs)
	}
}

func (d *dialogue) end() {
	d.t.Helper()
	if err := d.in.Close(); err != nil {
		d.t.Error(err)
	}
	if code := exitCode(d.t, d.cmd.Wait()); code != exitOK {
		d.t.Errorf("exit code %d\n%s", code, d.errs)
	}
}

// TestWalkThrough is what the README shows: three nodes, a name published on one and found from another, and calls that
// go on when the one in between is killed.
func TestWalkThrough(t *testing.T) {
	v := newVillage(t)
	v.run("carol")
	seed := v.gossip("carol")
	v.run("bob", "--join", seed)
	v.run("alice", "--join", seed)
	v.sees("alice", "alive", "alice", "bob", "carol")
	v.want(exitOK, "absent", "alice", "watch", "greeting", "--until", "absent")
	v.want(exitOK, "", "carol", "publish", "greeting")
	v.want(exitOK, "live carol", "alice", "watch", "greeting", "--until", "live")
	v.want(exitFailed, "already", "carol", "publish", "greeting")
	v.want(exitOK, "", "carol", "publish", "greeting", "--overwrite")
	v.want(exitFailed, "held at node", "bob", "publish", "greeting")
	v.want(exitOK, "carol", "alice", "lookup", "greeting")
	v.want(exitOK, "Hello, world! This is carol.", "alice", "call", "greeting", "world")
	v.want(exitOK, "bob answers in ", "alice", "ping", "bob")
	v.want(exitOK, "session/", "alice", "tree")

	d := v.dialogue("alice", "greeting", "--via", "bob")
	d.say("world", "Hello, world! This is carol.")
	v.kill("bob")
	d.say("again", "Hello, again! This is carol.")
	d.end()
	v.sees("alice", "failed", "bob")
	v.want(exitGone, "bob", "alice", "ping", "bob")
	v.want(exitOK, "Hello, world! This is carol.", "alice", "call", "greeting", "world")

	v.run("bob", "--join", seed) // under its key, at a new address
	v.sees("alice", "alive", "bob")
	v.want(exitOK, "bob answers in ", "alice", "ping", "bob")
	v.want(exitOK, "Hello, world! This is carol.", "bob", "call", "greeting", "world")

	v.stop("carol", syscall.SIGTERM)
	v.sees("alice", "left", "carol")
	v.want(exitGone, "node carol has left", "alice", "call", "greeting", "world")
	v.want(exitOK, "gone", "alice", "names")
	v.want(exitNotFound, "greetings", "alice", "call", "greetings", "world")
	v.want(exitNotFound, "dave", "alice", "ping", "dave")
	v.want(exitOK, "", "bob", "publish", "greeting")
	v.want(exitOK, "Hello, world! This is bob.", "alice", "call", "greeting", "world")
	v.want(exitOK, "", "bob", "withdraw", "greeting")
	v.want(exitNotFound, "greeting", "bob", "withdraw", "greeting")
	v.stop("alice", os.Interrupt)
	v.stop("bob", syscall.SIGTERM)
	v.want(exitNotRunning, "no node runs on", "bob", "members")
}

// What is wrong with the settings is told before anything is started.
func TestRunWrongly(t *testing.T) {
	folder := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing":     {nil, exitUsage, "--name is missing"},
		"beyond":      {[]string{"--name", "n", "--data", folder, "--listen", ":0"}, exitUsage, "--gossip-key"},
		"no file":     {[]string{"--config", filepath.Join(folder, "none")}, exitUsage, "--config"},
		"check":       {[]string{"--name", "n", "--data", folder, "--check"}, exitOK, "ok"},
		"check fails": {[]string{"--name", "n", "--data", "/dev/null/d", "--check"}, exitFailed, "--data"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, stdout, stderr := vatnode(t, folder, append([]string{"run"}, c.args...)...)
			code := exitCode(t, cmd.Run())
			if got := stdout.String() + stderr.String(); code != c.code || !strings.Contains(got, c.says) {
				t.Errorf("exit code %d, want %d, saying %q:\n%s", code, c.code, c.says, got)
			}
			wantEmpty(t, folder)
		})
	}
}
