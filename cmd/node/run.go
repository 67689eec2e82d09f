package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/config"
	"github.com/vatwork/vatwork/cmd/node/internal/node"
)

func newRunCommand() *cobra.Command {
	var cfg config.Config
	var path string
	var check bool
	cmd := &cobra.Command{
		Use:   "run --name NAME --data FOLDER",
		Short: "Run a node until it is told to stop",
		Long: `Runs a node: a vat with a key of its own, a member of a cluster, with a directory of names as its bootstrap.

Each setting is a flag, an environment variable (VATNODE_NAME, VATNODE_GOSSIP_KEY, ...), or a line of the file that
--config names; where several set it, the first of these counts.

SIGINT or SIGTERM: the node leaves the cluster, takes no new sessions, lets calls in flight finish within --grace, and
exits with 0. A second one ends it at once. SIGHUP: the files of --gossip-key and --allow are read again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if text, ok := os.LookupEnv(config.Env("config")); ok && !cmd.Flags().Changed("config") {
				path = text
			}
			if err := config.Load(cmd.Flags(), &cfg, path, os.LookupEnv, "config", "check", "help"); err != nil {
				return err
			}
			if check {
				if err := node.Check(cfg); err != nil {
					return &failure{err}
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "ok")
				return err
			}
			if err := runNode(cmd.Context(), cfg); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
	config.Flags(cmd.Flags(), &cfg)
	cmd.Flags().StringVar(&path, "config", "", "file of settings, in TOML: the names of the flags, without dashes in front")
	cmd.Flags().BoolVar(&check, "check", false, "say what is wrong with the settings, and exit")
	return cmd
}

func runNode(parent context.Context, cfg config.Config) error {
	log := cfg.Logger(os.Stderr)
	// Not parent's signals: SIGHUP has a meaning of its own here.
	ctx, stop := signal.NotifyContext(context.WithoutCancel(parent), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	n, err := node.Start(ctx, cfg, log)
	if err != nil {
		return err
	}
	for {
		select {
		case <-reload:
			if err := n.Reload(); err != nil {
				log.Error("what was to be read again is left as it was", "err", err)
			}
			continue
		case err := <-n.Failed():
			log.Error("node fails", "err", err)
			if stopped := n.Stop(cfg.Grace); stopped != nil {
				log.Error("node does not stop in good order", "err", stopped)
			}
			return err
		case <-ctx.Done():
		}
		// From here on a second signal ends the process.
		stop()
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		return n.Stop(cfg.Grace)
	}
}
