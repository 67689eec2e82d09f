package actors

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// memberOf notes the names that it is told of.
type memberOf struct {
	name string
	seen *[]string
}

func (m memberOf) Receive(ctx actor.Context) {
	if n, ok := ctx.Message().(*note); ok {
		if n.panics {
			panic("as told")
		}
		*m.seen = append(*m.seen, m.name)
	}
}

// Each actor of a brood is the one it was spawned for, also where another one could not be spawned, and one that fails
// is stopped like any other.
func TestBrood(t *testing.T) {
	system := NewSystem(slog.New(slog.DiscardHandler))
	defer system.Shutdown()
	var seen []string
	var failed []string
	brood := NewBrood()
	var pids []*actor.PID
	parent := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); !ok {
			return
		}
		for i := range 3 {
			pid, err := brood.Spawn(ctx, memberOf{fmt.Sprint(i), &seen}, fmt.Sprint("child", i))
			if err != nil {
				t.Error(err)
			}
			pids = append(pids, pid)
			if _, err := brood.Spawn(ctx, memberOf{"again", &seen}, fmt.Sprint("child", i)); err == nil {
				t.Error("two actors of one name")
			}
		}
	}, Inline(), actor.WithSupervisor(StopOnFailure(func(child *actor.PID, _ any) { failed = append(failed, child.Id) }))))
	tell := func(n *note) {
		for _, pid := range pids {
			system.Root.Send(pid, n)
		}
	}
	tell(&note{})
	system.Root.Send(pids[1], &note{panics: true})
	tell(&note{})
	if want := []string{"0", "1", "2", "0", "2"}; !slices.Equal(seen, want) {
		t.Errorf("told: %v, want %v", seen, want)
	}
	if want := []string{parent.Id + "/child1"}; !slices.Equal(failed, want) {
		t.Errorf("failed: %v, want %v", failed, want)
	}
	_ = system.Root.StopFuture(parent).Wait()
	defer func() {
		if recover() == nil {
			t.Error("an actor was made anew")
		}
	}()
	brood.take()
}
