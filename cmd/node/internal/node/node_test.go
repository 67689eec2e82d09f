package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/vatwork/vatwork/cmd/node/internal/config"
	"github.com/vatwork/vatwork/cmd/node/internal/control"
	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A journal is what nodes log.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// configure is the configuration of a command line.
func configure(t *testing.T, name string, args ...string) config.Config {
	t.Helper()
	var cfg config.Config
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	config.Flags(flags, &cfg)
	if err := flags.Parse(append([]string{"--name", name, "--data", folderFor(t)}, args...)); err != nil {
		t.Fatal(err)
	}
	if err := config.Load(flags, &cfg, "", func(string) (string, bool) { return "", false }); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// folderFor is a folder with a path that is short enough for a socket.
func folderFor(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "vn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "d")
}

// start starts a node. It is stopped at the end of the test, if not before.
func start(t *testing.T, cfg config.Config) (*Node, *journal) {
	t.Helper()
	log := &journal{}
	n, err := Start(t.Context(), cfg, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.tearDown(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return n, log
}

// What is in the way of a start is told, and nothing is left behind: goleak looks.
func TestStartFails(t *testing.T) {
	running, _ := start(t, configure(t, "first"))
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.Addr().String()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*config.Config), args ...string) config.Config {
		cfg := configure(t, "second", args...)
		change(&cfg)
		return cfg
	}
	for _, c := range []struct {
		what string
		cfg  config.Config
		says string
	}{
		{"a folder in use", with(func(c *config.Config) { c.Data = running.cfg.Data }), "another node runs on it (process "},
		{"a port in use", with(func(*config.Config) {}, "--listen", port), "--listen " + port + " is in use"},
		{"a gossip port in use", with(func(*config.Config) {}, "--gossip", port), "--gossip " + port + " is in use"},
		{"a metrics port in use", with(func(*config.Config) {}, "--metrics", port), "--metrics " + port + " is in use"},
		{"an address of another machine", with(func(*config.Config) {}, "--listen", "192.0.2.1:0", "--open"), "is no address of this machine"},
		{"a folder that cannot be", with(func(c *config.Config) { c.Data = filepath.Join(file, "d") }), "--data"},
		{"a long path", with(func(c *config.Config) { c.Data += strings.Repeat("/long", 30) }), "too long for a socket"},
		{"a name that is taken", with(func(c *config.Config) { c.Name = "first" }, "--join", running.member.Load().GossipAddr()), "name"},
		{"a bad key", with(func(c *config.Config) { writeFile(t, filepath.Join(c.Data, keyName), "no key") }), "key file"},
	} {
		t.Run(c.what, func(t *testing.T) {
			log := slog.New(slog.NewTextHandler(&journal{}, nil))
			n, err := Start(t.Context(), c.cfg, log)
			if err == nil {
				t.Errorf("it started: %v", n.tearDown())
			} else if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
		})
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	cfg := configure(t, "n")
	if err := Check(cfg); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(cfg.Data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("checking has made something: %v", err)
	}
	writeFile(t, filepath.Join(cfg.Data, keyName), "no key")
	if err := Check(cfg); err == nil {
		t.Error("a bad key passes")
	}
	cfg.Data = filepath.Join(cfg.Data, keyName, "below")
	if err := Check(cfg); err == nil {
		t.Error("a folder below a file passes")
	}
}

// A seed that does not answer is no reason not to start, but one to say so.
func TestSilentSeed(t *testing.T) {
	_, log := start(t, configure(t, "n", "--join", "127.0.0.1:1"))
	if !strings.Contains(log.String(), "alone for now, and trying again") || !strings.Contains(log.String(), "127.0.0.1:1") {
		t.Error(log)
	}
}

// The control socket is for its owner, and goes with the node.
func TestControlSocket(t *testing.T) {
	n, _ := start(t, configure(t, "n"))
	info, err := os.Stat(filepath.Join(n.cfg.Data, "control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c, err := control.Dial(t.Context(), n.cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	answer, release := c.Control.Status(t.Context(), nil)
	res, err := answer.Struct()
	if err != nil {
		t.Fatal(err)
	}
	status, err := res.Status()
	if err != nil {
		t.Fatal(err)
	}
	if id, err := status.Id(); err != nil || id != string(n.key.ID()) {
		t.Errorf("%s, %v", id, err)
	}
	release()
	if err := errors.Join(c.Close(), n.Stop(time.Second)); err != nil {
		t.Error(err)
	}
	var none *control.NotRunningError
	if _, err := control.Dial(t.Context(), n.cfg.Data); !errors.As(err, &none) {
		t.Errorf("after the end: %v", err)
	}
}

// A stranger is refused, told so, logged and counted; on the list, read anew, it is let in, and finds names.
func TestStranger(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "allow")
	writeFile(t, list, "# nobody\n")
	n, log := start(t, configure(t, "n", "--allow", list))
	key, err := transport.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	g, err := spawnGreeter(n.vat, "n")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.registry.Publish(t.Context(), "greeter", capnp.Client(g)); err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		network, err := transport.ListenTLS("", key, transport.Config{Name: "stranger"})
		if err != nil {
			t.Fatal(err)
		}
		v, err := vat.New(vat.Config{Network: network})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		d := names.Directory(v.Bootstrap(t.Context(), n.key.ID(), n.network.Addrs()...))
		defer d.Release()
		found, release := d.Lookup(t.Context(), func(p names.Directory_lookup_Params) error { return p.SetName("greeter") })
		defer release()
		answer, free := greeting.Greeter(found.Cap()).Greet(t.Context(), nil)
		defer free()
		_, err = answer.Struct()
		return err
	}
	if err := ask(); err == nil || exc.TypeOf(err) != exc.Disconnected && !strings.Contains(err.Error(), "not admitted") {
		t.Errorf("a stranger: %v", err)
	}
	if n.admission.Refused() == 0 || !strings.Contains(log.String(), string(key.ID())) {
		t.Errorf("%d refused; logged: %s", n.admission.Refused(), log)
	}
	writeFile(t, list, string(key.ID())+" # a friend\n")
	if err := n.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Errorf("on the list: %v", err)
	}
}

// slow is a greeter that waits until it is told to go on.
type slow struct{ entered, goOn chan struct{} }

func (s slow) Greet(ctx context.Context, call greeting.Greeter_greet) error {
	close(s.entered)
	select {
	case <-s.goOn:
	case <-ctx.Done():
		return ctx.Err()
	}
	res, err := call.AllocResults()
	if err != nil {
		return err
	}
	return res.SetGreeting("done")
}

// A node that stops answers what is in flight.
func TestStopFinishesCalls(t *testing.T) {
	host, _ := start(t, configure(t, "host"))
	caller, _ := start(t, configure(t, "caller", "--join", host.member.Load().GossipAddr()))
	s := slow{make(chan struct{}), make(chan struct{})}
	if err := host.registry.Publish(t.Context(), "slow", capnp.Client(greeting.Greeter_ServerToClient(s))); err != nil {
		t.Fatal(err)
	}
	c, _, err := caller.registry.Lookup(t.Context(), "slow")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	answer, release := greeting.Greeter(c).Greet(t.Context(), nil)
	defer release()
	<-s.entered
	stopped := make(chan error, 1)
	go func() { stopped <- host.Stop(time.Minute) }()
	for err := error(nil); err == nil || !strings.Contains(err.Error(), "shutting down"); {
		d := names.Directory(caller.vat.Bootstrap(t.Context(), host.key.ID()))
		err = identify(t.Context(), d)
		d.Release()
	}
	close(s.goOn)
	res, err := answer.Struct()
	if err != nil {
		t.Fatal(err)
	}
	if text, err := res.Greeting(); err != nil || text != "done" {
		t.Errorf("%q, %v", text, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	caller.wantState(t, "slow", names.Gone)
	_, _, err = caller.registry.Lookup(t.Context(), "slow")
	if err == nil || exc.TypeOf(err) != exc.Disconnected || !strings.Contains(err.Error(), "node host has left") {
		t.Errorf("after the end: %v", err)
	}
}

// wantState waits until a node knows a name to be in a state.
func (n *Node) wantState(t *testing.T, name string, want names.State) {
	t.Helper()
	d := n.registry.Local()
	defer d.Release()
	told := make(states, 16)
	answer, release := d.Watch(t.Context(), func(p names.Directory_watch_Params) error {
		if err := p.SetName(name); err != nil {
			return err
		}
		return p.SetWatcher(names.Watcher_ServerToClient(told))
	})
	defer release()
	if _, err := answer.Struct(); err != nil {
		t.Fatal(err)
	}
	for got := range told {
		if got == want {
			return
		}
	}
}

// states is a watcher that passes on what it is told.
type states chan names.State

func (s states) Changed(_ context.Context, call names.Watcher_changed) error {
	e, err := call.Args().Entry()
	if err == nil {
		s <- e.State()
	}
	return err
}

// The gossip key is changed on nodes that run, one after the other, and they stay together.
func TestGossipKeyRotates(t *testing.T) {
	const old, next = "MDEyMzQ1Njc4OWFiY2RlZg==\n", "ZmVkY2JhOTg3NjU0MzIxMA==\n"
	folder := t.TempDir()
	file := func(name string) string { return filepath.Join(folder, name) }
	nodes := map[string]*Node{}
	for _, name := range []string{"a", "b"} {
		writeFile(t, file(name), old)
		args := []string{"--gossip-key", file(name)}
		if a := nodes["a"]; a != nil {
			args = append(args, "--join", a.member.Load().GossipAddr())
		}
		nodes[name], _ = start(t, configure(t, name, args...))
	}
	for _, keys := range []string{old + next, next + old, next} {
		for name, n := range nodes {
			writeFile(t, file(name), keys)
			if err := n.Reload(); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeFile(t, file("c"), next)
	c, _ := start(t, configure(t, "c", "--gossip-key", file("c"), "--join", nodes["a"].member.Load().GossipAddr()))
	if err := nodes["b"].member.Load().WaitFor(t.Context(), nodes["a"].key.ID(), c.key.ID()); err != nil {
		t.Error(err)
	}
	writeFile(t, file("a"), "no key")
	if err := nodes["a"].Reload(); err == nil || !strings.Contains(err.Error(), "base64") {
		t.Errorf("a bad file, read again: %v", err)
	}
}

// Whoever comes is let in where that was said in so many words.
func TestOpen(t *testing.T) {
	n, _ := start(t, configure(t, "n", "--open"))
	key, err := transport.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	network, err := transport.ListenTLS("", key, transport.Config{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vat.New(vat.Config{Network: network})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	d := names.Directory(v.Bootstrap(t.Context(), n.key.ID(), n.network.Addrs()...))
	defer d.Release()
	if err := identify(t.Context(), d); err != nil {
		t.Error(err)
	}
}

// Nodes of one machine can do without a port.
func TestUnixSocket(t *testing.T) {
	a, _ := start(t, configure(t, "a", "--listen", "unix:"+filepath.Dir(folderFor(t))+"/a.sock"))
	b, _ := start(t, configure(t, "b", "--join", a.member.Load().GossipAddr()))
	d := names.Directory(b.vat.Bootstrap(t.Context(), a.key.ID()))
	defer d.Release()
	if err := identify(t.Context(), d); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	n, _ := start(t, configure(t, "n", "--metrics", "127.0.0.1:0"))
	g, err := spawnGreeter(n.vat, "n")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.registry.Publish(t.Context(), "greeter", capnp.Client(g)); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get("http://" + n.metrics.addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`vatwork_names{kind="held"} 1`,
		`vatwork_cluster_members{state="alive"} 1`,
		`vatwork_table_entries{table="questions"} 0`,
		`vatwork_handoffs_total{outcome="accepted"} 0`,
		`vatwork_vats_refused_total 0`,
		`go_goroutines `,
	} {
		if !strings.Contains(string(text), "\n"+line) {
			t.Errorf("no line %q in:\n%s", line, text)
		}
	}
}
