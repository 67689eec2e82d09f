package actors

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// StopOnFailure supervises by stopping the child that failed and telling failed, which runs in the turn of
// the supervisor. No actor is restarted: one that has forgotten which ids a peer holds is worse than none.
func StopOnFailure(failed func(child *actor.PID, reason any)) actor.SupervisorStrategy {
	return &Supervisor{failed: failed}
}

// A Supervisor restarts hosts as their policies say, and stops any other child that fails.
type Supervisor struct {
	failed func(*actor.PID, any)
	hosts  sync.Map // *Host by id of its actor
}

// NewSupervisor makes one; failed hears of children that are no hosts, in the turn of the supervisor.
func NewSupervisor(failed func(child *actor.PID, reason any)) *Supervisor {
	return &Supervisor{failed: failed}
}

// Add has s supervise h, whose actor is to be spawned with the full id. Remove ends that.
func (s *Supervisor) Add(id string, h *Host) { s.hosts.Store(id, h) }

// Remove forgets a host that has ended.
func (s *Supervisor) Remove(id string) { s.hosts.Delete(id) }

// HandleFailure implements actor.SupervisorStrategy.
func (s *Supervisor) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any) {
	x, ok := s.hosts.Load(child.Id)
	if !ok {
		sup.StopChildren(child)
		s.failed(child, reason)
		return
	}
	wait, restart := x.(*Host).decide(reason, time.Now())
	if !restart {
		sup.StopChildren(child)
		return
	}
	// Never in this turn, which is the supervisor's: the producer runs as the child starts, and may spawn.
	time.AfterFunc(wait, func() { sup.RestartChildren(child) })
}
