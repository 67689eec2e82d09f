package transport

import (
	"fmt"
	"log/slog"
)

// withDefaults checks c and returns it with its zero fields filled in. epoch is what 0 stands for.
func (c Config) withDefaults(epoch uint64) (Config, error) {
	if err := checkName(c.Name); err != nil {
		return Config{}, fmt.Errorf("transport: Config.Name: %w", err)
	}
	if c.Features == 0 {
		c.Features = AllFeatures
	}
	if c.Epoch == 0 {
		c.Epoch = epoch
	}
	c.Limits = c.Limits.withDefaults()
	if c.Wrap == nil {
		c.Wrap = func(conn Conn) Conn { return conn }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// hello is what a vat of this configuration says.
func (c Config) hello(id VatID) Hello {
	return Hello{ID: id, Name: c.Name, Features: c.Features, Epoch: c.Epoch}
}
