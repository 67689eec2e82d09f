package actors

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/server"
)

// anyMethod is what the server of every host has for every call: which one it is, the context tells.
func anyMethod(capnp.Method) *server.Method { return &waitedFor }

var waitedFor = server.Method{Impl: func(ctx context.Context, c *server.Call) error {
	w := ctx.(*waiting)
	if !w.begin() {
		return ctx.Err() // to nobody
	}
	return w.h.run(w.Context, w.method, c)
}}

// run runs one call on the instance of the moment, once there is one.
func (h *Host) run(ctx context.Context, m capnp.Method, c *server.Call) error {
	inst, err := h.enter(ctx)
	if err != nil {
		return err
	}
	defer h.exit(inst)
	for i := range inst.methods {
		if x := &inst.methods[i]; x.InterfaceID == m.InterfaceID && x.MethodID == m.MethodID {
			return h.guard(ctx, inst, x, c)
		}
	}
	return capnp.Unimplemented(fmt.Sprintf("%s has no method %s", h.name, m.String()))
}

// guard runs a method and turns a panic into an exception for its caller, who gets the text; the stack goes to
// the log.
func (h *Host) guard(ctx context.Context, inst *instance, m *server.Method, c *server.Call) (err error) {
	defer func() {
		if r := recover(); r != nil {
			h.logger.Error("method panicked", "object", h.name, "method", m.Method.String(),
				"panic", r, "stack", string(debug.Stack()))
			err = exc.New(exc.Failed, "", fmt.Sprintf("%s: %s panicked: %v", h.name, m.Method.String(), r))
			h.failed(inst, r)
		}
	}()
	return m.Impl(ctx, c)
}

// failed closes the gate before the next call can pass it, and tells the actor, which fails in its turn. An
// instance fails once: of calls that run side by side on it, the first panic counts.
func (h *Host) failed(inst *instance, reason any) {
	h.mu.Lock()
	current := h.inst == inst && !h.stopped
	if current {
		h.inst, h.ready = nil, make(chan struct{})
		h.retireInstance(inst)
	}
	h.mu.Unlock()
	if current {
		h.system.Root.Send(h.pid, &methodPanicked{reason})
	}
}

// enter waits for an instance and counts the call on it.
func (h *Host) enter(ctx context.Context) (*instance, error) {
	for {
		h.mu.Lock()
		if h.stopped {
			err := h.why
			h.mu.Unlock()
			return nil, err
		}
		if inst := h.inst; inst != nil {
			inst.running++
			h.mu.Unlock()
			return inst, nil
		}
		ready := h.ready
		h.mu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (h *Host) exit(inst *instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	inst.running--
	h.shutDownIfIdle(inst)
}

// retireInstance: it is to be shut down once no call runs on it. The caller holds h.mu.
func (h *Host) retireInstance(inst *instance) {
	inst.retired = true
	h.shutDownIfIdle(inst)
}

func (h *Host) shutDownIfIdle(inst *instance) {
	if inst.retired && inst.running == 0 && inst.shutdown != nil {
		shutdown := inst.shutdown
		inst.shutdown = nil
		go runShutdown(h.logger, h.name, shutdown)
	}
}

func runShutdown(logger *slog.Logger, name string, shutdown func()) {
	defer func() {
		if r := recover(); r != nil {
			logger.Error("Shutdown panicked", "object", name, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	if shutdown != nil {
		shutdown()
	}
}

// Close ends the object once all calls that were accepted have been answered. It does not wait.
func (h *Host) Close() {
	h.closing.Store(true)
	if h.calls.Load() == 0 {
		go h.end(nil)
	}
}

// End ends the object at once: calls that wait are rejected with why, those that run are answered as they
// return.
func (h *Host) End(why error) { h.end(why) }

func (h *Host) end(why error) {
	h.mu.Lock()
	if h.stopped {
		h.mu.Unlock()
		return
	}
	h.stopped, h.why = true, why
	if why == nil {
		h.why = exc.New(exc.Disconnected, "", h.name+" has been released")
	}
	if h.ready != nil {
		close(h.ready)
		h.ready = nil
	}
	if h.inst != nil {
		h.retireInstance(h.inst)
		h.inst = nil
	}
	if h.srv != nil {
		// What waits is still run: each call finds the host stopped.
		h.srv.Shutdown()
		h.srv = nil
	}
	if h.broken != nil {
		close(h.broken)
	}
	h.mu.Unlock()
	if h.pid != nil {
		h.system.Root.Stop(h.pid)
	}
	if h.owner != nil {
		h.owner.Stopped(why)
	}
}

// Broken is closed when the object has ended. Err says why then, and is nil before.
func (h *Host) Broken() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken == nil {
		h.broken = make(chan struct{})
		if h.stopped {
			close(h.broken)
		}
	}
	return h.broken
}

// Err is why the object has ended, or nil.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// State describes the object, with how many calls wait or run.
func (h *Host) State() (state string, calls int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		state = "stopped"
	case h.inst == nil:
		state = "restarting"
	default:
		state = "serving"
	}
	return state, int(h.calls.Load())
}

// decide is what the supervisor does about a failure: wait that long and restart, or end.
func (h *Host) decide(reason any, now time.Time) (wait time.Duration, restart bool) {
	h.mu.Lock()
	wait, restart = h.budget.spend(now)
	n, policy := len(h.budget.at), h.budget.policy
	h.mu.Unlock()
	if restart {
		return wait, true
	}
	why := exc.New(exc.Failed, "", fmt.Sprintf("%s has stopped: %v", h.name, reason))
	if policy.On == Restart {
		why = exc.New(exc.Failed, "", fmt.Sprintf("%s has stopped: %d restarts within %v, and again: %v",
			h.name, n, policy.Within, reason))
	}
	if policy.On == Escalate && h.owner != nil {
		h.owner.Escalated(why)
	}
	h.end(why)
	return 0, false
}
