package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/vatwork/vatwork/transport"
)

// EnvPrefix begins the names of environment variables: --gossip-key is VATNODE_GOSSIP_KEY.
const EnvPrefix = "VATNODE_"

// Env is the name of the environment variable of a flag.
func Env(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Load completes what the flags, which are parsed, have set: what they have not is taken from the environment, then from
// the file at path if that is not "". Its keys are the names of the flags; one that is none is an error. skip are flags
// that have nothing to do with c.
func Load(flags *pflag.FlagSet, c *Config, path string, lookup func(string) (string, bool), skip ...string) error {
	file, err := readFile(path)
	if err != nil {
		return err
	}
	var wrong []error
	flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(skip, f.Name) {
			return
		}
		fromFile, inFile := file[f.Name]
		delete(file, f.Name)
		if f.Changed {
			return
		}
		if text, ok := lookup(Env(f.Name)); ok {
			if err := flags.Set(f.Name, text); err != nil {
				wrong = append(wrong, fmt.Errorf("%s=%s: %w", Env(f.Name), text, err))
			}
		} else if inFile {
			if err := set(flags, f.Name, fromFile); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", path, err))
			}
		}
	})
	for key := range file {
		wrong = append(wrong, fmt.Errorf("%s: %q is no setting", path, key))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	_, err = c.ReadFiles()
	return err
}

func readFile(path string) (map[string]any, error) {
	if path == "" {
		return nil, nil
	}
	values := map[string]any{}
	if _, err := toml.DecodeFile(path, &values); err != nil {
		return nil, fmt.Errorf("--config %s: %w", path, err)
	}
	return values, nil
}

// set sets a flag to a value of TOML.
func set(flags *pflag.FlagSet, name string, value any) error {
	switch v := value.(type) {
	case []any:
		texts := make([]string, len(v))
		for i, x := range v {
			texts[i] = fmt.Sprint(x)
		}
		return flags.Set(name, strings.Join(texts, ","))
	case map[string]any:
		return fmt.Errorf("%q is a table, want a value", name)
	}
	return flags.Set(name, fmt.Sprint(value))
}

// maxAllowed bounds the file of those who may connect.
const maxAllowed = 1 << 20

// readAllowed reads a file with the id of a vat on each line; empty lines and what follows a # do not count.
func readAllowed(path string) ([]transport.VatID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxAllowed {
		return nil, fmt.Errorf("%s: want a regular file of at most %d bytes", path, maxAllowed)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ids []transport.VatID
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		id, err := transport.ParseVatID(line)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		ids = append(ids, id)
	}
	return ids, lines.Err()
}

// Logger is a log to w, as c says.
func (c *Config) Logger(w io.Writer) *slog.Logger {
	level, err := c.level()
	if err != nil {
		panic(err) // it has been validated
	}
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
