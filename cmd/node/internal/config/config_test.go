package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load loads a configuration from a command line, an environment and the text of a file.
func load(t *testing.T, args []string, env map[string]string, file string) (Config, error) {
	t.Helper()
	var c Config
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	Flags(flags, &c)
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := Load(flags, &c, path, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	return c, err
}

func TestPrecedence(t *testing.T) {
	file := `
name = "file"
data = "file"
grace = "3s"
join = ["127.0.0.1:1", "127.0.0.1:2"]
open = true`
	env := map[string]string{"VATNODE_NAME": "env", "VATNODE_DATA": "env", "VATNODE_LOG_LEVEL": "warn"}
	c, err := load(t, []string{"--name", "flag"}, env, file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "flag" || c.Data != "env" || c.Grace != 3*time.Second || !c.Open || c.LogLevel != "warn" ||
		!slices.Equal(c.Join, []string{"127.0.0.1:1", "127.0.0.1:2"}) {
		t.Errorf("%+v", c)
	}
	if c, err = load(t, nil, map[string]string{"VATNODE_JOIN": "127.0.0.1:3,127.0.0.1:4"}, file); err != nil || len(c.Join) != 2 || c.Join[1] != "127.0.0.1:4" {
		t.Errorf("%+v, %v", c, err)
	}
}

// The example that the documentation shows is one that works.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("../../vatnode.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(t, nil, nil, string(text))
	if err != nil || c.Name != "alice" || c.Gossip != "127.0.0.1:7946" || len(c.Join) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	var all Config
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	Flags(flags, &all)
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains("\n"+string(text), "\n"+f.Name+" = ") && !strings.Contains(string(text), "\n# "+f.Name+" = ") {
			t.Errorf("the example does not show %s", f.Name)
		}
	})
}

func TestWrongSettings(t *testing.T) {
	good := []string{"--name", "n", "--data", "d"}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		args []string
		env  map[string]string
		file string
		says []string
	}{
		{what: "nothing", says: []string{"--name is missing", "--data is missing"}},
		{what: "a name with a slash", args: []string{"--name", "a/b", "--data", "d"}, says: []string{`--name "a/b"`}},
		{what: "not loopback", args: append(good, "--listen", "192.0.2.1:1"), says: []string{"--listen 192.0.2.1:1 is not loopback", "--gossip-key"}},
		{what: "all interfaces", args: append(good, "--listen", ":1"), says: []string{"--listen :1 is not loopback"}},
		{what: "gossip on all interfaces", args: append(good, "--open", "--gossip", "0.0.0.0:1"), says: []string{"the others are told this address"}},
		{what: "no port", args: append(good, "--listen", "127.0.0.1"), says: []string{"--listen 127.0.0.1:", "missing port"}},
		{what: "no such host", args: append(good, "--join", "no-such-host.invalid:1"), says: []string{"--join no-such-host.invalid:1"}},
		{what: "open and a list", args: append(good, "--open", "--allow", "x"), says: []string{"--allow and --open"}},
		{what: "no such list", args: append(good, "--allow", "no/such/file"), says: []string{"--allow", "no/such/file"}},
		{what: "a bad gossip key", args: append(good, "--gossip-key", key), says: []string{"--gossip-key", "base64"}},
		{what: "a bad list", args: append(good, "--allow", key), says: []string{"--allow", "line 1"}},
		{what: "a bad variable", args: good, env: map[string]string{"VATNODE_GRACE": "soon"}, says: []string{"VATNODE_GRACE=soon"}},
		{what: "a bad line", args: good, file: `grace = "soon"`, says: []string{"grace", "soon"}},
		{what: "a bad key", args: good, file: `graze = "1s"`, says: []string{`"graze" is no setting`}},
		{what: "no TOML", args: good, file: `grace: 1s`, says: []string{"--config"}},
		{what: "a log that nobody reads", args: append(good, "--log-format", "xml", "--log-level", "loud"), says: []string{"--log-format", "--log-level"}},
		{what: "negative grace", args: append(good, "--grace", "-1s"), says: []string{"--grace"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := load(t, c.args, c.env, c.file)
			for _, text := range c.says {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%v; want it to say %q", err, text)
				}
			}
		})
	}
}

func TestBeyondLoopback(t *testing.T) {
	for _, args := range [][]string{{"--open"}, {"--gossip-key", writeKey(t)}} {
		c, err := load(t, append([]string{"--name", "n", "--data", "d", "--listen", ":4711", "--gossip", "192.0.2.1:7946"}, args...), nil, "")
		if err != nil || c.Listen != "0.0.0.0:4711" {
			t.Errorf("%v: %+v, %v", args, c, err)
		}
	}
}

func writeKey(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("MDEyMzQ1Njc4OWFiY2RlZg==\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
