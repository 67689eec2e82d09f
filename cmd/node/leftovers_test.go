//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowDemo starts a demo that takes a while, and returns when its three players are there.
func slowDemo(t *testing.T, folder string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("looks for processes in /proc")
	}
	cmd, _, stderr = vatnode(t, folder, "demo", "--hold", "20s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three players", func() bool {
		keys, err := filepath.Glob(filepath.Join(folder, "*", "*", "key.pem"))
		return err == nil && len(keys) == 3
	})
	return cmd, stderr
}

// eventually waits for what other processes do, of which nobody tells us.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for range 4000 {
		if happened() {
			return
		}
		<-look.C
	}
	t.Fatal("never: ", what)
}

// players are the processes that a director has started.
func players(t *testing.T, folder string, director int) []int {
	t.Helper()
	var pids []int
	for _, p := range processes(t, folder) {
		pid, err := strconv.Atoi(p)
		if err != nil {
			t.Fatal(err)
		}
		if pid != director {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestInterrupted(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			folder := t.TempDir()
			cmd, stderr := slowDemo(t, folder)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if code := exitCode(t, cmd.Wait()); code != exitFailed || stderr.String() != "vatnode: interrupted\n" {
				t.Errorf("exit code %d, standard error %q", code, stderr)
			}
			wantNoProcess(t, folder)
			wantEmpty(t, folder)
		})
	}
}

// Nobody can clean up after a director that is killed but its players.
func TestDirectorKilled(t *testing.T) {
	folder := t.TempDir()
	cmd, _ := slowDemo(t, folder)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("killed, and yet successful")
	}
	eventually(t, "the players end", func() bool { return len(processes(t, folder)) == 0 })
	wantEmpty(t, folder)
}

// A player that breaks down fails the demo, which says who, and shows what it wrote last.
func TestPlayerBreaksDown(t *testing.T) {
	folder := t.TempDir()
	cmd, stderr := slowDemo(t, folder)
	pids := players(t, folder, cmd.Process.Pid)
	if len(pids) != 3 {
		t.Fatalf("%d players", len(pids))
	}
	// A Go program dumps its goroutines on SIGQUIT and exits with 2, as on a panic.
	if err := syscall.Kill(pids[0], syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	stdout := cmd.Stdout.(*bytes.Buffer)
	if code := exitCode(t, cmd.Wait()); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if !strings.Contains(stdout.String(), "FAILED: the scenario was not played to its end") || !strings.Contains(stderr.String(), "SIGQUIT") {
		t.Errorf("printed:\n%s\n%s", stdout, stderr)
	}
	wantNoProcess(t, folder)
	wantEmpty(t, folder)
}
