package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/control"
	"github.com/vatwork/vatwork/examples/hello/greeting"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/names"
)

// name is a line of `vatnode names`.
type name struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Holder    string    `json:"holder"` // the id of the node
	Node      string    `json:"node"`   // its name
	Publisher string    `json:"publisher"`
	Since     time.Time `json:"since"`
	Why       string    `json:"why,omitempty"`
}

func readName(from names.Entry) (n name, err error) {
	n.State, n.Since = from.State().String(), time.Unix(0, int64(from.Stamp()))
	if n.Name, err = from.Name(); err != nil {
		return n, err
	}
	if n.Holder, err = from.Holder(); err != nil {
		return n, err
	}
	if n.Node, err = from.HolderName(); err != nil {
		return n, err
	}
	if n.Publisher, err = from.Publisher(); err != nil {
		return n, err
	}
	n.Why, err = from.Why()
	return n, err
}

func (q *query) printNames(all ...name) error {
	return q.print(all, "NAME\tSTATE\tNODE\tPUBLISHER\tSINCE\tWHY", func(line func(...any)) {
		for _, n := range all {
			line(n.Name, n.State, n.Node, transport.VatID(n.Publisher).Short(), n.Since.Format(time.DateTime), n.Why)
		}
	})
}

// directory is that of the node, or of a member. The caller releases it.
func directory(ctx context.Context, node control.Control, member string) (names.Directory, error) {
	answer, release := node.Directory(ctx, func(p control.Control_directory_Params) error { return p.SetMember(member) })
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return names.Directory{}, plain(err)
	}
	if !res.Found() {
		return names.Directory{}, noMember(member)
	}
	return res.Directory().AddRef(), nil
}

func newNamesCommand() *cobra.Command {
	q := &query{}
	return q.withJSON(q.command("names", "List what is published in the cluster", "", cobra.NoArgs,
		func(ctx context.Context, node control.Control, _ []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			d, err := directory(ctx, node, "")
			if err != nil {
				return err
			}
			defer d.Release()
			answer, release := d.List(ctx, nil)
			return result(answer, release, func(res names.Directory_list_Results) error {
				list, err := res.Entries()
				if err != nil {
					return err
				}
				all := make([]name, list.Len())
				for i := range all {
					if all[i], err = readName(list.At(i)); err != nil {
						return err
					}
				}
				return q.printNames(all...)
			})
		}))
}

func newPublishCommand() *cobra.Command {
	q := &query{}
	var overwrite bool
	cmd := q.command("publish NAME", "Have the node host a greeter, and publish it", `Has the node make a greeter, an object for trying things out, and publish it under the name. It is there until the node
stops, or the name is withdrawn.`, cobra.ExactArgs(1),
		func(ctx context.Context, node control.Control, args []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			answer, release := node.Host(ctx, func(p control.Control_host_Params) error {
				p.SetOverwrite(overwrite)
				return p.SetName(args[0])
			})
			return result(answer, release, func(control.Control_host_Results) error { return nil })
		})
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace what this node has published under the name")
	return cmd
}

func newWithdrawCommand() *cobra.Command {
	q := &query{}
	return q.command("withdraw NAME", "Withdraw a name that the node has published", "", cobra.ExactArgs(1),
		func(ctx context.Context, node control.Control, args []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			answer, release := node.Withdraw(ctx, func(p control.Control_withdraw_Params) error { return p.SetName(args[0]) })
			return result(answer, release, func(res control.Control_withdraw_Results) error {
				if !res.Found() {
					return noName(args[0])
				}
				return nil
			})
		})
}

func noName(name string) error {
	return &notFound{fmt.Sprintf("nothing is published under the name %q", name)}
}

// describe is what a directory knows of a name.
func describe(ctx context.Context, d names.Directory, of string) (name, error) {
	answer, release := d.Describe(ctx, func(p names.Directory_describe_Params) error { return p.SetName(of) })
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return name{}, plain(err)
	}
	from, err := res.Entry()
	if err != nil {
		return name{}, err
	}
	if from.State() == names.Absent {
		return name{}, noName(of)
	}
	return readName(from)
}

func newLookupCommand() *cobra.Command {
	q := &query{}
	var via string
	cmd := q.withJSON(q.command("lookup NAME", "Print what is published under a name, and where", "", cobra.ExactArgs(1),
		func(ctx context.Context, node control.Control, args []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			d, err := directory(ctx, node, via)
			if err != nil {
				return err
			}
			defer d.Release()
			n, err := describe(ctx, d, args[0])
			if err != nil {
				return err
			}
			answer, release := d.Lookup(ctx, func(p names.Directory_lookup_Params) error { return p.SetName(args[0]) })
			return result(answer, release, func(names.Directory_lookup_Results) error { return q.printNames(n) })
		}))
	cmd.Flags().StringVar(&via, "via", "", "ask the member of this name, in place of the node's own directory")
	return cmd
}

func newCallCommand() *cobra.Command {
	q := &query{}
	var via string
	cmd := q.command("call NAME [TEXT]", "Look a greeter up, and call it", `Looks up a name, calls the greeter that is published under it with the text, and prints the answer. Without a text, each
line of the standard input is one, and all calls are made on the one reference that was looked up.`, cobra.RangeArgs(1, 2),
		func(ctx context.Context, node control.Control, args []string) error {
			g, err := q.lookup(ctx, node, via, args[0])
			if err != nil {
				return err
			}
			defer g.Release()
			if len(args) == 2 {
				return q.greet(ctx, g, args[1])
			}
			lines := bufio.NewScanner(os.Stdin)
			for lines.Scan() {
				if err := q.greet(ctx, g, strings.TrimSpace(lines.Text())); err != nil {
					return err
				}
			}
			return lines.Err()
		})
	cmd.Flags().StringVar(&via, "via", "", "ask the member of this name, in place of the node's own directory")
	return cmd
}

// lookup finds a greeter. The caller releases it.
func (q *query) lookup(ctx context.Context, node control.Control, via, of string) (greeting.Greeter, error) {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	d, err := directory(ctx, node, via)
	if err != nil {
		return greeting.Greeter{}, err
	}
	defer d.Release()
	if _, err := describe(ctx, d, of); err != nil {
		return greeting.Greeter{}, err
	}
	answer, release := d.Lookup(ctx, func(p names.Directory_lookup_Params) error { return p.SetName(of) })
	defer release()
	res, err := answer.Struct()
	if err != nil {
		return greeting.Greeter{}, plain(err)
	}
	return greeting.Greeter(res.Cap().AddRef()), nil
}

func (q *query) greet(ctx context.Context, g greeting.Greeter, who string) error {
	ctx, cancel := q.bounded(ctx)
	defer cancel()
	answer, release := g.Greet(ctx, func(p greeting.Greeter_greet_Params) error { return p.SetName(who) })
	return result(answer, release, func(res greeting.Greeter_greet_Results) error {
		text, err := res.Greeting()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(q.out, text)
		return err
	})
}
