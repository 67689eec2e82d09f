//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/cluster/internal/townapi"
	"github.com/vatwork/vatwork/transport"
)

// childVariable is set where this program is a node in a process of its own: what it is to be, as JSON.
const childVariable = "VATWORK_CLUSTER_TEST_NODE"

// order is what such a node is told, news what it tells when it is ready, on its standard output. It leaves the cluster
// in good order when its standard input ends.
type (
	order struct {
		Name   string
		Folder string // of its key and its epoch
		Join   []string
	}
	news struct {
		Gossip string
		Run    uint64
	}
)

func init() {
	cluster.AsChild(func() bool {
		text := os.Getenv(childVariable)
		if text == "" {
			return false
		}
		if err := serve(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return true
	})
}

// serve is the life of a node.
func serve(text string) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	key, err := transport.LoadIdentity(filepath.Join(o.Folder, o.Name+".pem"))
	if err != nil {
		return err
	}
	epoch, err := transport.NextEpoch(filepath.Join(o.Folder, o.Name+".epoch"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	n, err := open(ctx, plan{name: o.Name, key: key, epoch: epoch, join: o.Join, pace: quick, log: slog.Default()})
	if err != nil {
		return err
	}
	if err := n.publish(ctx); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(news{n.member.GossipAddr(), epoch}); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = errors.Join(n.member.Leave(ctx), n.vat.Shutdown(ctx))
	n.registry.Close()
	return errors.Join(err, n.member.Close())
}

// A process is a node in a process of its own.
type process struct {
	news
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	said  *tail
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	l.text = l.text[max(0, len(l.text)-4000):]
	return len(p), nil
}

// A village is a node in this process, and others in processes of their own.
type village struct {
	*testing.T
	folder    string
	mayor     *node
	processes map[string]*process
}

func newVillage(t *testing.T, names ...string) *village {
	tn := newTown(t, quick)
	tn.direct = true
	v := &village{T: t, folder: t.TempDir(), mayor: tn.start("mayor"), processes: map[string]*process{}}
	t.Cleanup(v.end)
	for _, name := range names {
		v.spawn(name)
	}
	for _, name := range names {
		for _, who := range names {
			v.works(who, who, name)
		}
	}
	return v
}

// spawn starts a process, or starts it anew with the key that it had, at other ports.
func (v *village) spawn(name string) {
	v.Helper()
	o := order{Name: name, Folder: v.folder, Join: []string{v.mayor.member.GossipAddr()}}
	text, err := json.Marshal(o)
	if err != nil {
		v.Fatal(err)
	}
	p := &process{name: name, cmd: exec.Command(os.Args[0]), said: &tail{}}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), childVariable+"="+string(text)), p.said
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		v.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		v.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		v.Fatal(err)
	}
	v.processes[name] = p
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.news)
	}
	if err != nil {
		v.Fatalf("%s is not ready: %v\n%s", name, err, p.said.text)
	}
	v.mayor.knows(v.T, name)
}

func (v *village) signal(name string, s syscall.Signal) {
	v.Helper()
	if err := v.processes[name].cmd.Process.Signal(s); err != nil {
		v.Fatal(err)
	}
}

// kill ends a process without a word.
func (v *village) kill(name string) {
	v.Helper()
	v.signal(name, syscall.SIGKILL)
	_ = v.processes[name].cmd.Wait()
	delete(v.processes, name)
}

// leave ends a process in good order.
func (v *village) leave(name string) {
	v.Helper()
	p := v.processes[name]
	delete(v.processes, name)
	p.stdin.Close()
	overdue := time.AfterFunc(patience, func() { p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer overdue.Stop()
	if err := p.cmd.Wait(); err != nil {
		v.Errorf("%s left: %v\n%s", name, err, p.said.text)
	}
}

func (v *village) end() {
	for _, p := range v.processes {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if v.Failed() {
			v.Logf("%s said: %s", p.name, p.said.text)
		}
	}
}

// errand has who look up the worker of host at the member by, and call it.
func (v *village) errand(ctx context.Context, who, by, host string, token uint64) (receipt, error) {
	if who == v.mayor.name {
		return v.mayor.errand(ctx, by, host+"/worker", token)
	}
	return v.mayor.send(ctx, who, by, host+"/worker", token)
}

// works expects that to succeed in the end, with the run of host that there is.
func (v *village) works(who, by, host string) {
	v.Helper()
	eventually(v.T, fmt.Sprintf("%s has work done by %s, found at %s", who, host, by), func(ctx context.Context) error {
		got, err := v.errand(ctx, who, by, host, 1)
		if p := v.processes[host]; err == nil && p != nil && got.run != p.Run {
			return fmt.Errorf("run %d did it, want %d", got.run, p.Run)
		}
		return err
	})
}

// TestKilledProcess: a node that is killed is missed, what concerns it fails and says so, all else goes on, and it is
// used again when it is back, at a new address.
func TestKilledProcess(t *testing.T) {
	v := newVillage(t, "alice", "bob", "carol")
	v.works("alice", "bob", "carol")
	done := make(chan outcome, 1)
	sent := make(chan struct{})
	go func() {
		got, err := v.mayor.with(t.Context(), "bob", "carol/worker", func(c capnp.Client) (receipt, error) {
			ans, release := townapi.Worker(c).Hold(t.Context(), nil)
			defer release()
			// What was called before is there when this returns.
			tally, releaseTally := townapi.Worker(c).Tally(t.Context(), nil)
			defer releaseTally()
			if _, err := tally.Struct(); err != nil {
				t.Errorf("carol before she was killed: %v", err)
			}
			close(sent)
			return read(ans.Receipt().Struct())
		})
		done <- outcome{got, err}
	}()
	<-sent
	v.kill("carol")
	lost(t, done)
	for _, who := range []string{"mayor", "alice"} {
		if _, err := v.errand(t.Context(), who, "bob", "carol", 1); err == nil || !strings.Contains(err.Error(), "carol") {
			t.Errorf("an errand of %s to carol, who is dead: %v", who, err)
		}
		v.works(who, "bob", "alice")
	}
	v.mayor.misses(t, "carol")
	v.spawn("carol")
	for _, who := range []string{"mayor", "alice", "bob"} {
		v.works(who, "bob", "carol")
		v.works("carol", who, "bob")
	}
	v.leave("bob")
	v.mayor.misses(t, "bob")
	v.works("alice", "carol", "mayor")
}
