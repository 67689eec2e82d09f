package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"capnproto.org/go/capnp/v3"
	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cmd/node/internal/control"
	"github.com/vatwork/vatwork/vat"
)

// status is what `vatnode id` prints.
type status struct {
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Addresses []string  `json:"addresses"`
	Gossip    string    `json:"gossip"`
	Started   time.Time `json:"started"`
	Process   uint32    `json:"process"`
}

func newIDCommand() *cobra.Command {
	q := &query{}
	return q.withJSON(q.command("id", "Print the id of the node, and where it listens", `Prints the id of the node: its public key, which is what --allow of another node takes. With --json also its name,
its addresses, the address of its gossip, since when it runs, and its process.`, cobra.NoArgs,
		func(ctx context.Context, node control.Control, _ []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			answer, release := node.Status(ctx, nil)
			return result(answer, release, func(res control.Control_status_Results) error {
				s, err := readStatus(res)
				if err != nil {
					return err
				}
				if q.json {
					return q.print(s, "", nil)
				}
				_, err = fmt.Fprintln(q.out, s.ID)
				return err
			})
		}))
}

func readStatus(res control.Control_status_Results) (status, error) {
	from, err := res.Status()
	if err != nil {
		return status{}, err
	}
	s := status{Started: time.Unix(0, from.Started()), Process: from.Process()}
	if s.Name, err = from.Name(); err != nil {
		return s, err
	}
	if s.ID, err = from.Id(); err != nil {
		return s, err
	}
	if s.Gossip, err = from.Gossip(); err != nil {
		return s, err
	}
	s.Addresses, err = texts(from.Addresses())
	return s, err
}

func texts(list capnp.TextList, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	all := make([]string, list.Len())
	for i := range all {
		if all[i], err = list.At(i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// member is a line of `vatnode members`.
type member struct {
	Name      string   `json:"name"`
	ID        string   `json:"id"`
	State     string   `json:"state"`
	Addresses []string `json:"addresses"`
	Self      bool     `json:"self,omitempty"`
}

func newMembersCommand() *cobra.Command {
	q := &query{}
	return q.withJSON(q.command("members", "List the members of the cluster, as the node sees it", "", cobra.NoArgs,
		func(ctx context.Context, node control.Control, _ []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			answer, release := node.Members(ctx, nil)
			return result(answer, release, func(res control.Control_members_Results) error {
				members, err := readMembers(res)
				if err != nil {
					return err
				}
				return q.print(members, "NAME\tSTATE\tID\tADDRESSES", func(line func(...any)) {
					for _, m := range members {
						line(m.Name, m.State, m.ID, strings.Join(m.Addresses, " "))
					}
				})
			})
		}))
}

func readMembers(res control.Control_members_Results) ([]member, error) {
	list, err := res.Members()
	if err != nil {
		return nil, err
	}
	members := make([]member, list.Len())
	for i := range members {
		from, to := list.At(i), &members[i]
		to.Self = from.Self()
		if to.Name, err = from.Name(); err != nil {
			return nil, err
		}
		if to.ID, err = from.Id(); err != nil {
			return nil, err
		}
		if to.State, err = from.State(); err != nil {
			return nil, err
		}
		if to.Addresses, err = texts(from.Addresses()); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// pong is what `vatnode ping` prints.
type pong struct {
	Name        string `json:"name"`
	ID          string `json:"id"`
	Nanoseconds uint64 `json:"nanoseconds"`
}

func newPingCommand() *cobra.Command {
	q := &query{}
	return q.withJSON(q.command("ping MEMBER", "Call a member and print how long that took",
		"Has the node call the member of that name, over a session that is there by then.", cobra.ExactArgs(1),
		func(ctx context.Context, node control.Control, args []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			answer, release := node.Ping(ctx, func(p control.Control_ping_Params) error { return p.SetMember(args[0]) })
			return result(answer, release, func(res control.Control_ping_Results) error {
				if !res.Found() {
					return noMember(args[0])
				}
				id, err := res.Id()
				if err != nil {
					return err
				}
				if q.json {
					return q.print(pong{args[0], id, res.Nanoseconds()}, "", nil)
				}
				_, err = fmt.Fprintf(q.out, "%s answers in %v\n", args[0], time.Duration(res.Nanoseconds()).Round(time.Microsecond))
				return err
			})
		}))
}

func noMember(name string) error { return &notFound{fmt.Sprintf("no member is named %q", name)} }

func newTreeCommand() *cobra.Command {
	q := &query{}
	return q.withJSON(q.command("tree", "Draw the actor tree of the node's vat", "", cobra.NoArgs,
		func(ctx context.Context, node control.Control, _ []string) error {
			ctx, cancel := q.bounded(ctx)
			defer cancel()
			answer, release := node.Tree(ctx, nil)
			return result(answer, release, func(res control.Control_tree_Results) error {
				text, err := res.Json()
				if err != nil {
					return err
				}
				var tree vat.Node
				if err := json.Unmarshal([]byte(text), &tree); err != nil {
					return err
				}
				if q.json {
					return q.print(tree, "", nil)
				}
				_, err = fmt.Fprint(q.out, tree)
				return err
			})
		}))
}
