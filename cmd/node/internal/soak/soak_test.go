package soak

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// playing is set in a process that is a party of a test's.
const playing = "VATNODE_SOAK_TEST"

func TestMain(m *testing.M) {
	play := sceneMain
	switch os.Getenv(playing) {
	case "":
		goleak.VerifyTestMain(m)
		return
	case "soak":
		play = func() error { return Play(os.Args[1], os.Args[2], os.Stdin, os.Stdout) }
	}
	if err := play(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(args ...string) *exec.Cmd { return playAs("soak", args) }

func sceneCommand(args ...string) *exec.Cmd { return playAs("scene", args) }

func playAs(what string, args []string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), playing+"="+what)
	return cmd
}

// A soak of a few seconds finds nothing.
func TestSoak(t *testing.T) {
	result, err := Run(t.Context(), Options{For: 3 * time.Second, Every: 300 * time.Millisecond, Workers: 3, Command: command, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := result.Write(&text); err != nil {
		t.Error(err)
	}
	t.Log(text.String())
	if result.Calls == 0 || len(result.Faults) == 0 || len(result.Violations) > 0 {
		t.Errorf("%d calls, faults %v; what must not be: %q", result.Calls, result.Faults, result.Violations)
	}
}

// What must not be is seen: a call that comes twice, and one out of order.
func TestSoakHasTeeth(t *testing.T) {
	p := &party{name: "alice"}
	var r Result
	r.init(Options{})
	bar := &capBar{p: p}
	bar.came(1)
	bar.came(3)
	if len(p.account.Violations) != 0 {
		t.Errorf("in order: %q", p.account.Violations)
	}
	bar.came(2)
	bar.came(2)
	p.account.Tables.Answers = 1
	r.note("alice", p.account, false)
	if len(r.Violations) != 3 {
		t.Errorf("seen: %q", r.Violations)
	}
}
