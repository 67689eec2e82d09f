package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/transport"
)

// Config is what a node is told. The comment of a field is that of its flag, in Flags.
type Config struct {
	Name      string
	Data      string
	Listen    string
	Gossip    string
	Join      []string
	GossipKey string
	Allow     string
	Open      bool
	Grace     time.Duration
	Metrics   string
	LogFormat string
	LogLevel  string
}

// Flags makes the flags that set c, with their defaults.
func Flags(flags *pflag.FlagSet, c *Config) {
	flags.StringVar(&c.Name, "name", "", "member name, unique in the cluster: visible ASCII without /, at most 64 bytes")
	flags.StringVar(&c.Data, "data", "", "folder of the node's key, lock and control socket; made if it is not there")
	flags.StringVar(&c.Listen, "listen", "127.0.0.1:0", "where vats connect: host:port or unix:path; port 0 takes a free one")
	flags.StringVar(&c.Gossip, "gossip", "127.0.0.1:0", "where the gossip is sent and received, over UDP and TCP: host:port")
	flags.StringSliceVar(&c.Join, "join", nil, "gossip addresses of members to find the cluster by, separated by commas")
	flags.StringVar(&c.GossipKey, "gossip-key", "", "file of the keys that encrypt the gossip, base64, one a line, the first encrypts")
	flags.StringVar(&c.Allow, "allow", "", "file of the vats that may connect besides the members, one id a line")
	flags.BoolVar(&c.Open, "open", false, "let any vat connect, and listen beyond loopback also without --gossip-key")
	flags.DurationVar(&c.Grace, "grace", 10*time.Second, "how long calls in flight may take when the node is told to stop")
	flags.StringVar(&c.Metrics, "metrics", "", "serve metrics for Prometheus at http://host:port/metrics")
	flags.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	flags.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
}

// Files is what the files that a Config names have said.
type Files struct {
	GossipKeys [][]byte
	Allowed    []transport.VatID
}

// ReadFiles reads them; also anew, while the node runs.
func (c *Config) ReadFiles() (f Files, err error) {
	if c.GossipKey != "" {
		if f.GossipKeys, err = cluster.LoadKeys(c.GossipKey); err != nil {
			return Files{}, fmt.Errorf("--gossip-key: %w", err)
		}
	}
	if c.Allow != "" {
		if f.Allowed, err = readAllowed(c.Allow); err != nil {
			return Files{}, fmt.Errorf("--allow: %w", err)
		}
	}
	return f, nil
}

// validate checks c as a whole, and resolves the addresses that have to be numbers.
func (c *Config) validate() error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("--name is missing: the node needs one that no other member has")
	} else if len(c.Name) > 64 || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		bad("--name %q: want at most 64 visible ASCII characters without /", c.Name)
	}
	if c.Data == "" {
		bad("--data is missing: the node needs a folder of its own")
	}
	if c.Open && c.Allow != "" {
		bad("--allow and --open: give one; with --open any vat may connect")
	}
	if c.Grace < 0 {
		bad("--grace %v: want zero or more", c.Grace)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("--log-format %q: want text or json", c.LogFormat)
	}
	if _, err := c.level(); err != nil {
		bad("--log-level %q: want debug, info, warn or error", c.LogLevel)
	}
	var err error
	if !strings.HasPrefix(c.Listen, "unix:") {
		if c.Listen, err = c.resolve("--listen", c.Listen); err != nil {
			wrong = append(wrong, err)
		}
	}
	if c.Gossip, err = c.resolve("--gossip", c.Gossip); err != nil {
		wrong = append(wrong, err)
	} else if host, _, _ := net.SplitHostPort(c.Gossip); net.ParseIP(host).IsUnspecified() {
		bad("--gossip %s: the others are told this address, so give the one that they reach this machine by", c.Gossip)
	}
	for _, seed := range c.Join {
		if _, err := net.ResolveTCPAddr("tcp", seed); err != nil {
			bad("--join %s: %v", seed, err)
		}
	}
	if c.Metrics != "" {
		if _, err := net.ResolveTCPAddr("tcp", c.Metrics); err != nil {
			bad("--metrics %s: %v", c.Metrics, err)
		}
	}
	return errors.Join(wrong...)
}

// resolve makes an address to listen on one of numbers, and holds it to loopback where nothing protects it.
func (c *Config) resolve(flag, address string) (string, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return address, fmt.Errorf("%s %s: %w", flag, address, err)
	}
	if at.IP == nil {
		at.IP = net.IPv4zero
	}
	if !at.IP.IsLoopback() && c.GossipKey == "" && !c.Open {
		return address, fmt.Errorf("%s %s is not loopback, and without a gossip key any machine could join: "+
			"give --gossip-key, or --open to let in whoever comes", flag, address)
	}
	return at.String(), nil
}

func (c *Config) level() (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(c.LogLevel))
	return level, err
}
