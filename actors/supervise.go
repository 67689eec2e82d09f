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
	props  *actor.Props

	mu    sync.RWMutex
	hosts map[string]*Host // by id of the actor
}

// NewSupervisor makes one; failed hears of children that are no hosts, in the turn of the supervisor.
func NewSupervisor(failed func(child *actor.PID, reason any)) *Supervisor {
	s := &Supervisor{failed: failed, hosts: map[string]*Host{}}
	a := &hostActor{s}
	s.props = actor.PropsFromProducer(func() actor.Actor { return a }, Inline())
	return s
}

// Props are those of the actor of any host: s knows by its id which one it is.
func (s *Supervisor) Props() *actor.Props { return s.props }

// Add has s supervise h, which was spawned as pid. Remove ends that.
func (s *Supervisor) Add(pid *actor.PID, h *Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.pid = pid
	s.hosts[pid.Id] = h
}

// Remove forgets a host that has ended. One that was never added is none that it knows.
func (s *Supervisor) Remove(h *Host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.pid != nil {
		delete(s.hosts, h.pid.Id)
	}
}

// Owners are those of all hosts, in no order.
func (s *Supervisor) Owners() []Owner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	owners := make([]Owner, 0, len(s.hosts))
	for _, h := range s.hosts {
		owners = append(owners, h.owner)
	}
	return owners
}

func (s *Supervisor) host(pid *actor.PID) (h *Host, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok = s.hosts[pid.Id]
	return h, ok
}

// HandleFailure implements actor.SupervisorStrategy.
func (s *Supervisor) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any) {
	h, ok := s.host(child)
	if !ok {
		sup.StopChildren(child)
		s.failed(child, reason)
		return
	}
	wait, restart := h.decide(reason, time.Now())
	if !restart {
		sup.StopChildren(child)
		return
	}
	// Never in this turn, which is the supervisor's: the producer runs as the child starts, and may spawn.
	time.AfterFunc(wait, func() { sup.RestartChildren(child) })
}
