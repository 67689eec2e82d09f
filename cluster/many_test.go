package cluster_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/cluster/internal/townapi"
)

// TestManyNodes: fifty nodes find each other, publish, look up and hand capabilities round. Each node looks up, at
// whichever other; a dozen publish, for each of these has a session with all others, of which every one costs two TLS
// handshakes of one machine.
func TestManyNodes(t *testing.T) {
	many, hosts := 50, 12
	if testing.Short() {
		many, hosts = 12, 4
	}
	// Nothing fails here, and rare probes with long suspicion keep a busy machine from taking it for that: what follows
	// from one mistake among fifty costs more time than all the rest.
	pace := cluster.LANTiming()
	pace.ProbeInterval, pace.ProbeTimeout, pace.SuspicionMult = 10*time.Second, 9*time.Second, 10
	pace.PushPullInterval, pace.MaxSlowdown = 5*time.Second, 1
	tn := newTown(t, pace)
	tn.direct = true
	all := make([]string, many)
	for i := range all {
		all[i] = fmt.Sprintf("n%02d", i)
		if _, err := tn.launch(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	phase := func(what string) {
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	for _, name := range all {
		tn.nodes[name].knows(t, all...)
	}
	phase("all know all")
	// each has something done by many nodes at once, by the worker of some host.
	each := func(n int, f func(ctx context.Context, i int, host string) (receipt, error)) {
		t.Helper()
		var done sync.WaitGroup
		for i := range n {
			done.Go(func() {
				host := all[(i+5)%hosts]
				got, err := f(t.Context(), i, host)
				if err != nil || got.host != host || got.token != uint64(i) {
					t.Errorf("%s got %+v, %v, want work done by %s", all[i], got, err, host)
				}
			})
		}
		done.Wait()
	}
	each(hosts, func(ctx context.Context, i int, host string) (receipt, error) {
		return receipt{host: host, token: uint64(i)}, tn.nodes[all[i]].publish(ctx)
	})
	phase("names published")
	each(many, func(ctx context.Context, i int, host string) (receipt, error) {
		return tn.nodes[all[i]].errand(ctx, all[(i+7)%many], host+"/worker", uint64(i))
	})
	phase("looked up, handed off, called")
	each(many, func(ctx context.Context, i int, host string) (receipt, error) {
		n := tn.nodes[all[i]]
		via := []string{all[(i+1)%hosts], all[(i+2)%hosts], all[(i+3)%hosts]}
		return n.with(ctx, n.name, host+"/worker", func(c capnp.Client) (receipt, error) {
			return n.pass(ctx, townapi.Worker(c), via, uint64(i))
		})
	})
	phase("handed round, called")
	for _, name := range all {
		n := tn.nodes[name]
		live, err := n.list(t.Context(), name)
		if err != nil || len(live) != 2*hosts {
			t.Errorf("%s knows %d names, %v, want %d", name, len(live), err, 2*hosts)
		}
		if refused := n.door.Refused(); refused != 0 {
			t.Errorf("%s refused members %d times", name, refused)
		}
	}
}
