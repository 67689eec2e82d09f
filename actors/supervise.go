package actors

import "github.com/asynkron/protoactor-go/actor"

// StopOnFailure supervises by stopping the child that failed and telling failed, which runs in the turn of
// the supervisor. No actor is restarted: one that has forgotten which ids a peer holds is worse than none.
func StopOnFailure(failed func(child *actor.PID, reason any)) actor.SupervisorStrategy {
	return stopOnFailure{failed}
}

type stopOnFailure struct{ failed func(*actor.PID, any) }

func (s stopOnFailure) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID,
	_ *actor.RestartStatistics, reason, _ any) {
	sup.StopChildren(child)
	s.failed(child, reason)
}
