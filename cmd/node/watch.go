package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/control"
	"github.com/vatwork/vatwork/vat/names"
)

func newWatchCommand() *cobra.Command {
	q := &query{}
	var until string
	cmd := q.withJSON(q.command("watch NAME", "Print what becomes of a name", `Prints what is known of a name, now and whenever that changes, a line each, until it is interrupted, or the name is in the
state that --until names. With --json a line is an object.`, cobra.ExactArgs(1),
		func(ctx context.Context, node control.Control, args []string) error {
			if until != "" && !slices.Contains(stateNames, until) {
				return fmt.Errorf("--until %q: want one of %v", until, stateNames)
			}
			return q.watch(ctx, node, args[0], until)
		}))
	cmd.Flags().StringVar(&until, "until", "", "end when the name is absent, live or gone")
	return cmd
}

var stateNames = []string{names.Absent.String(), names.Live.String(), names.Gone.String()}

func (q *query) watch(ctx context.Context, node control.Control, of, until string) error {
	d, err := directory(ctx, node, "")
	if err != nil {
		return err
	}
	defer d.Release()
	w := &watcher{query: q, until: until, reached: make(chan error, 1)}
	answer, release := d.Watch(ctx, func(p names.Directory_watch_Params) error {
		if err := p.SetName(of); err != nil {
			return err
		}
		return p.SetWatcher(names.Watcher_ServerToClient(w))
	})
	defer release()
	if _, err := answer.Struct(); err != nil {
		return plain(err)
	}
	select {
	case err := <-w.reached:
		return err
	case err := <-q.connection.Lost(ctx):
		return err
	case <-ctx.Done():
		if until != "" {
			return fmt.Errorf("interrupted before the name was %s", until)
		}
		return nil
	}
}

// watcher prints what it is told. Its calls come one at a time.
type watcher struct {
	query   *query
	until   string
	reached chan error // gets one when the watch is over
}

// Changed implements names.Watcher.
func (w *watcher) Changed(_ context.Context, call names.Watcher_changed) error {
	e, err := call.Args().Entry()
	if err != nil {
		return err
	}
	n, err := readName(e)
	if err != nil {
		return err
	}
	if w.query.json {
		err = json.NewEncoder(w.query.out).Encode(n)
	} else {
		_, err = fmt.Fprintln(w.query.out, time.Now().Format(time.TimeOnly), n.State, n.Node, n.Why)
	}
	if err != nil || n.State == w.until {
		select {
		case w.reached <- err:
		default: // it is over already
		}
	}
	return err
}
