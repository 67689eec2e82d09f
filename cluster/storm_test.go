//go:build unix

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/cluster/internal/townapi"
)

// answerWithin is far beyond what any call may take: one that takes longer has no answer.
const answerWithin = 30 * time.Second

// ledger counts errands, and keeps the receipts of those that were done.
type ledger struct {
	mu       sync.Mutex
	started  uint64
	done     map[receipt]int // without its token
	byHost   map[string]uint64
	failures map[string]int
	silent   []string
}

func (l *ledger) begin() (token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started++
	return l.started
}

// note is called once for each begin.
func (l *ledger) note(t *testing.T, what, host string, token uint64, got receipt, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byHost[host]++
	switch {
	case errors.Is(err, context.DeadlineExceeded) || err != nil && strings.Contains(err.Error(), context.DeadlineExceeded.Error()):
		l.silent = append(l.silent, fmt.Sprintf("%s: %v", what, err))
	case err != nil:
		l.failures[exc.TypeOf(err).String()]++
	case got.host != host || got.token != token:
		t.Errorf("%s: done by %s for %d, want %s for %d", what, got.host, got.token, host, token)
	default:
		got.token = 0
		l.done[got]++
	}
}

// TestStorm has three processes and this one look up, hand off and call all the time, while the three are killed,
// stopped and started. Every errand has an answer, what was done was done once, and in the end everything works.
func TestStorm(t *testing.T) {
	names := []string{"alice", "bob", "carol"}
	v := newVillage(t, names...)
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := &ledger{done: map[receipt]int{}, byHost: map[string]uint64{}, failures: map[string]int{}}
	everyone := append([]string{v.mayor.name}, names...)
	over := make(chan struct{})
	var load sync.WaitGroup
	for i := range uint64(6) {
		chance := rand.New(rand.NewPCG(seed, i))
		load.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-over:
					return
				case <-pace.C:
				}
				who, by, host := everyone[chance.IntN(4)], everyone[chance.IntN(4)], everyone[chance.IntN(4)]
				token := l.begin()
				ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
				got, err := v.errand(ctx, who, by, host, token)
				cancel()
				l.note(t, fmt.Sprintf("%s asks %s for %s", who, by, host), host, token, got, err)
			}
		})
	}
	storm(v, rand.New(rand.NewPCG(seed, 100)), names, rounds)
	close(over)
	load.Wait()
	for _, who := range everyone {
		for _, by := range everyone {
			for _, host := range everyone {
				v.works(who, by, host)
			}
		}
	}
	l.check(v)
}

// storm has something happen to one node after the other.
func storm(v *village, chance *rand.Rand, names []string, rounds int) {
	for round := range rounds {
		name := names[chance.IntN(len(names))]
		switch round % 3 {
		case 0:
			v.kill(name)
			if chance.IntN(2) == 0 {
				v.mayor.misses(v.T, name)
			}
			v.spawn(name)
		case 1:
			v.signal(name, syscall.SIGSTOP)
			v.mayor.misses(v.T, name)
			v.signal(name, syscall.SIGCONT)
			v.mayor.knows(v.T, name)
		case 2:
			v.leave(name)
			v.spawn(name)
		}
		v.works(v.mayor.name, name, name)
	}
}

// check adds up.
func (l *ledger) check(v *village) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var done, failed uint64
	best := map[receipt]uint64{} // the greatest serial of each run
	for r, times := range l.done {
		done += uint64(times)
		if times != 1 {
			v.Errorf("%+v was done for %d errands", r, times)
		}
		run := receipt{host: r.host, run: r.run}
		best[run] = max(best[run], r.serial)
	}
	for _, times := range l.failures {
		failed += uint64(times)
	}
	v.Logf("%d errands: %d done, failed %v", l.started, done, l.failures)
	if done+failed+uint64(len(l.silent)) != l.started || len(l.silent) > 0 {
		v.Errorf("%d done, %d failed of %d; without an answer: %q", done, failed, l.started, l.silent)
	}
	if done < l.started/10 { // those that fail take no time
		v.Errorf("only %d of %d errands were done", done, l.started)
	}
	for name, p := range v.processes {
		counted := tally(v, name)
		if counted < best[receipt{host: name, run: p.Run}] || counted > l.byHost[name]+extra {
			v.Errorf("%s counts %d of its run, which is to be from %d to %d", name, counted, best[receipt{host: name, run: p.Run}], l.byHost[name]+extra)
		}
	}
}

// extra bounds the work that village.works has had done, which the ledger does not know of.
const extra = 10_000

// tally is how much work a process has done.
func tally(v *village, name string) (done uint64) {
	_, err := v.mayor.with(v.Context(), name, name+"/worker", func(c capnp.Client) (receipt, error) {
		ans, release := townapi.Worker(c).Tally(v.Context(), nil)
		defer release()
		res, err := ans.Struct()
		if err == nil {
			done = res.Done()
		}
		return receipt{}, err
	})
	if err != nil {
		v.Error(err)
	}
	return done
}
