package vat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"capnproto.org/go/capnp/v3/exc"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"
)

// Errors of three kinds never mix. What a call ended with is an exception (exc.Exception, with a type of
// rpc.capnp). What a peer did against rpc.capnp is a protocolFault: its session is aborted. What only a
// mistake of ours can cause panics, and the supervisor ends the session in whose turn it happened.

// A protocolFault is a message that no vat that keeps to rpc.capnp sends. The session in which it arrived
// says so in an Abort and ends.
type protocolFault struct{ reason string }

func (f *protocolFault) Error() string { return f.reason }

func fault(format string, args ...any) error {
	return &protocolFault{fmt.Sprintf(format, args...)}
}

// faultLimit is the fault of a peer that goes beyond the limit of that name, and counts it.
func (s *session) faultLimit(name string, limit int) error {
	s.vat.exceeded(name)
	return fault("Limits.%s allows %d", name, limit)
}

func failed(format string, args ...any) error {
	return exc.New(exc.Failed, "", fmt.Sprintf(format, args...))
}

func disconnected(format string, args ...any) error {
	return exc.New(exc.Disconnected, "", fmt.Sprintf(format, args...))
}

func overloaded(format string, args ...any) error {
	return exc.New(exc.Overloaded, "", fmt.Sprintf(format, args...))
}

func unimplemented(format string, args ...any) error {
	return exc.New(exc.Unimplemented, "", fmt.Sprintf(format, args...))
}

var (
	errCanceled  = exc.New(exc.Failed, "", "call canceled by its caller")
	errNull      = exc.New(exc.Failed, "", "call on a null capability")
	errReleased  = exc.New(exc.Failed, "", "call on a released reference")
	errFinished  = exc.New(exc.Failed, "", "the call is finished")
	errCircle    = exc.New(exc.Failed, "", "promise resolved to itself")
	errWithdrawn = exc.New(exc.Failed, "", "the provision was withdrawn by its introducer")
)

// maxReason is the most that goes out of the text of an error. The rest is cut off: an error that is too large for
// a message could not be told at all.
const maxReason = 16 << 10

// setException writes err with the type that it has.
func setException(e rpc.Exception, err error) error {
	e.SetType(rpc.Exception_Type(exc.TypeOf(err)))
	reason := err.Error()
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	if trace := TraceOf(err); trace != "" {
		if len(trace) > maxReason {
			trace = strings.ToValidUTF8(trace[:maxReason], "") + "…"
		}
		check(e.SetTrace(trace))
	}
	return e.SetReason(reason)
}

// exception reads what a peer sent. Its text is the peer's, unchanged: nothing is added on the way.
func exception(e rpc.Exception) error {
	reason, err := e.Reason()
	if err != nil {
		return fault("exception with an unreadable reason: %v", err)
	}
	t := exc.Type(e.Type())
	if t > exc.Unimplemented {
		t = exc.Failed
	}
	trace, err := e.Trace()
	if err != nil {
		return fault("exception with an unreadable trace: %v", err)
	}
	if trace != "" {
		return &exc.Exception{Type: t, Cause: &traced{reason, trace}}
	}
	return exc.New(t, "", reason)
}

// traced is the text of an exception that came with a trace, which goes on with it wherever it is passed on.
type traced struct{ reason, trace string }

func (e *traced) Error() string { return e.reason }
func (e *traced) Trace() string { return e.trace }

// TraceOf is the trace of an exception as the vat where it arose gave it, "" if there is none. It is not part of the
// text: it is for whoever looks for the fault, not for whoever is told of it. An error of a method's that has a
// method Trace() string, itself or in what it wraps, is sent with it.
func TraceOf(err error) string {
	var t interface{ Trace() string }
	if errors.As(err, &t) {
		return t.Trace()
	}
	return ""
}

// callerError is what a caller whose context has ended sees: an exception that wraps why it has, the context's error and
// its cause.
func callerError(ctx context.Context) error {
	why := cmp.Or(context.Cause(ctx), ctx.Err()) // a call that was released has no cause
	if err := ctx.Err(); err != nil && !errors.Is(why, err) {
		why = fmt.Errorf("%w (%w)", why, err)
	}
	return &exc.Exception{Type: exc.Failed, Cause: fmt.Errorf("call canceled by its caller: %w", why)}
}
