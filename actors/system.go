package actors

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// NewSystem makes an actor system that logs to logger, and at start only when something is wrong.
// It costs about 3 MB and 9 ms: make one a vat. Stop it with [actor.ActorSystem.Shutdown] once its
// actors have stopped.
func NewSystem(logger *slog.Logger) *actor.ActorSystem {
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(quiet{logger.Handler()})
		}),
		func(c *actor.Config) {
			c.DeadLetterRequestLogging = false
			// Counting dead letters costs a goroutine for each interval in which there is one, and it outlives
			// the system by as much. That messages reach stopped actors is in the nature of things here.
			c.DeadLetterThrottleInterval = time.Millisecond
		},
	)
}
