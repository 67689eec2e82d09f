package cluster

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

// configOf is a Config that Start takes.
func configOf(name string) Config {
	p := newPerson(name)
	return Config{ID: p.id, Name: name, Sign: p.sign, Bind: "127.0.0.1:0", Logger: quiet, Timing: fast}
}

func TestStartRefusesConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		field  string
		advice string
	}{
		"no id":             {func(c *Config) { c.ID = "" }, "ID", "want"},
		"no name":           {func(c *Config) { c.Name = "" }, "Name", "empty"},
		"odd name":          {func(c *Config) { c.Name = "a b" }, "Name", "visible ASCII"},
		"no signature":      {func(c *Config) { c.Sign = nil }, "Sign", "set the Sign method"},
		"another's key":     {func(c *Config) { c.Sign = newPerson("mallory").sign }, "Sign", "does not sign for"},
		"short signature":   {func(c *Config) { c.Sign = func([]byte) []byte { return nil } }, "Sign", "0 bytes"},
		"odd address":       {func(c *Config) { c.Addresses = []string{"127.0.0.1:1"} }, "Addresses", "network!address"},
		"too many":          {func(c *Config) { c.Addresses = slices.Repeat([]string{"a!b"}, 17) }, "Addresses", "leave out"},
		"oversized":         {func(c *Config) { c.Addresses = slices.Repeat([]string{"a!" + strings.Repeat("b", 100)}, 4) }, "Addresses", "use fewer or shorter"},
		"key length":        {func(c *Config) { c.Keys = [][]byte{make([]byte, 15)} }, "Keys", "16, 24 or 32"},
		"key twice":         {func(c *Config) { c.Keys = [][]byte{make([]byte, 16), make([]byte, 16)} }, "Keys", "twice"},
		"nine keys":         {func(c *Config) { c.Keys = make([][]byte, 9) }, "Keys", "at most 8"},
		"bind nowhere":      {func(c *Config) { c.Bind = "localhost:0" }, "Bind", "IP address and a port"},
		"bind without key":  {func(c *Config) { c.Bind = "192.0.2.1:0" }, "Bind", "set Keys"},
		"bind mapped":       {func(c *Config) { c.Bind = "[::ffff:192.0.2.1]:0" }, "Bind", "set Keys"},
		"bind everywhere":   {func(c *Config) { c.Bind, c.Open = "0.0.0.0:0", true }, "Bind", "bind the one"},
		"join nowhere":      {func(c *Config) { c.Join = []string{"127.0.0.1"} }, "Join", "host and port"},
		"join port":         {func(c *Config) { c.Join = []string{"127.0.0.1:http"} }, "Join", "host and port"},
		"join without key":  {func(c *Config) { c.Join = []string{"192.0.2.1:7946"} }, "Join", "set Keys"},
		"half a timing":     {func(c *Config) { c.Timing = Timing{ProbeInterval: 1} }, "Timing", "start from LocalTiming"},
		"probe too patient": {func(c *Config) { c.Timing.ProbeTimeout = c.Timing.ProbeInterval }, "Timing", "less than"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configOf("alice")
			c.change(&cfg)
			_, err := Start(t.Context(), cfg)
			var bad *ConfigError
			if !errors.As(err, &bad) || bad.Field != c.field || !strings.Contains(bad.Advice, c.advice) {
				t.Errorf("got %v, want a fault of %s that says %q", err, c.field, c.advice)
			}
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	cfg := configOf("alice")
	cfg.Bind, cfg.Timing, cfg.Logger, cfg.Addresses = "", Timing{}, nil, []string{"tcp!a:1"}
	got, bind, err := cfg.validate(time.Unix(0, 42))
	if err != nil {
		t.Fatal(err)
	}
	if bind.String() != "127.0.0.1:0" || got.Timing != LocalTiming() || got.Logger == nil || got.Seq != 42 {
		t.Errorf("got bind %v, %+v", bind, got)
	}
	if cfg.Addresses[0] = "changed"; got.Addresses[0] != "tcp!a:1" {
		t.Error("the caller's slice is shared")
	}
	cfg = configOf("alice")
	cfg.Bind, cfg.Keys, cfg.Timing, cfg.Seq = "192.0.2.1:7946", [][]byte{make([]byte, 32)}, Timing{}, 7
	if got, _, err = cfg.validate(time.Unix(0, 42)); err != nil || got.Timing != LANTiming() || got.Seq != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestStartCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, configOf("alice")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	handler := slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})
	l := newLog(slog.New(handler))
	l.Printf("[DEBUG] memberlist: one")
	l.Printf("[INFO] memberlist: two")
	l.Printf("[WARN] memberlist: a\nname")
	l.Printf("[ERR] memberlist: four")
	l.Printf("five")
	want := `level=DEBUG msg=one from=memberlist
level=INFO msg=two from=memberlist
level=WARN msg="a\nname" from=memberlist
level=ERROR msg=four from=memberlist
level=INFO msg=five from=memberlist
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
