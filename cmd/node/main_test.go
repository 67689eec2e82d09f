package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// withoutEmbargoes has the players of a demo ignore embargoes: see ignoreEmbargoes.
const withoutEmbargoes = "VATNODE_TEST_WITHOUT_EMBARGOES"

// asCommand makes the test binary be vatnode. The processes that it starts inherit it.
const asCommand = "VATNODE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		if os.Getenv(withoutEmbargoes) != "" {
			ignoreEmbargoes()
		}
		os.Exit(run(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// vatnode is a command that keeps its temporary files in folder.
func vatnode(t *testing.T, folder string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asCommand+"="+folder, "TMPDIR="+folder,
		"GORACE=atexit_sleep_ms=0") // the race detector would have each process sleep for a second
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return exitOK
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// wantEmpty looks for what the command should have removed.
func wantEmpty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("left behind: %s", entry.Name())
	}
}

// A wrong command line is told once, starts nothing, and exits with 2.
func TestWrongCommandLines(t *testing.T) {
	for name, args := range map[string][]string{
		"negative hold":        {"demo", "--hold", "-1s"},
		"endless hold":         {"demo", "--hold", "24h"},
		"no duration":          {"demo", "--hold", "soon"},
		"no folder for trace":  {"demo", "--trace", "/nonexistent/folder/t.jsonl"},
		"trace without a name": {"demo", "--trace", ""},
		"trace is a folder":    {"demo", "--trace", t.TempDir()},
		"extra argument":       {"demo", "alice"},
		"unknown flag":         {"demo", "--fast"},
		"unknown command":      {"dance"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			cmd, stdout, stderr := vatnode(t, folder, args...)
			if code := exitCode(t, cmd.Run()); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout.Len() > 0 {
				t.Errorf("on standard output: %s", stdout)
			}
			if lines := bytes.Count(stderr.Bytes(), []byte("vatnode: ")); lines != 1 {
				t.Errorf("%d errors, want 1:\n%s", lines, stderr)
			}
			wantEmpty(t, folder)
		})
	}
}
