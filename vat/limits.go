package vat

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/vatwork/vatwork/transport"
)

// Limits bound what peers and local code can make a vat hold. What would go beyond one is answered with an
// overloaded exception that names it, where there is a caller to be told; where there is none, the session
// ends with an Abort that names it. Either is counted: see [Vat.Exceeded]. How long a message may be, how deep,
// and how long a handshake may take is for the network: see transport.Limits.
//
// A zero field means the default, given behind it.
type Limits struct {
	// To and from one peer, at a time.
	Questions    int // open questions of ours; beyond: overloaded. With answers that the peer announces, twice as many: Abort. 65,536
	Answers      int // open questions of the peer's, finished by it or not; beyond: Abort. 65,536
	Calls        int // calls of the peer's that run or wait; beyond: overloaded. 16,384
	CallBytes    int // of these, with 256 for each and 1,024 for each capability; beyond: overloaded. 64 MiB
	ResultBytes  int // of results that the peer has not finished, counted likewise; beyond: overloaded. 256 MiB
	Pipelined    int // calls that wait on one answer or one promise; beyond: overloaded. 4,096
	Exports      int // held by the peer; a call, result or resolution that would add to them: overloaded. 131,072
	Imports      int // held from the peer; beyond: Abort. 131,072
	Capabilities int // in one message of the peer's; beyond: Abort. 4,096
	EmbargoBytes int // of calls held back by embargoes, counted likewise; beyond: overloaded. 64 MiB
	QueueBytes   int // written and not yet taken by the network, beyond which local callers wait. 8 MiB
	MessageBytes int // of a message that we send; a call or result beyond fails. 64 MiB

	// In the vat, at a time.
	Sessions   int // beyond: refused. 16,384
	Provisions int // of one introducer, kept results included; beyond: overloaded. 16,384
	Parked     int // Accepts, and ThirdPartyAnswers, of one vat that nobody has named yet; beyond: overloaded. 1,024
	TwoParty   int // peers connected through ServeTwoParty, over all listeners; beyond: refused. 1,024

	// Times.
	Dial      time.Duration // to reach a peer; 10 s
	Unreached time.Duration // that a peer which was dialed in vain for Dial is not dialed for a handoff; 1 min
	Handoff   time.Duration // that an Accept waits for its provision, or with Dial, for its Return; 30 s
	Kept      time.Duration // that the results of a call wait for the vat that they are kept for; 1 min
	Results   time.Duration // that an Accept of the results of a call waits for them, at a host that shows that it lives; 24 h
	Probe     time.Duration // in which a peer that is said to be dead has to give a sign of life; 2 s
	Awaited   time.Duration // that a call waits for the third party that it was forwarded to, to show up; 30 s
	Idle      time.Duration // that a session of which neither side holds anything is kept; 5 min
}

// DefaultLimits are those of a Config that names none.
func DefaultLimits() Limits {
	return Limits{
		Questions:    1 << 16,
		Answers:      1 << 16,
		Calls:        1 << 14,
		CallBytes:    64 << 20,
		ResultBytes:  256 << 20,
		Pipelined:    1 << 12,
		Exports:      1 << 17,
		Imports:      1 << 17,
		Capabilities: 1 << 12,
		EmbargoBytes: 64 << 20,
		QueueBytes:   8 << 20,
		MessageBytes: 64 << 20,
		Sessions:     1 << 14,
		Provisions:   1 << 14,
		Parked:       1 << 10,
		TwoParty:     1 << 10,
		Dial:         10 * time.Second,
		Unreached:    time.Minute,
		Handoff:      30 * time.Second,
		Kept:         time.Minute,
		Results:      24 * time.Hour,
		Probe:        2 * time.Second,
		Awaited:      30 * time.Second,
		Idle:         5 * time.Minute,
	}
}

// withDefaults fills the fields that are zero.
func (l Limits) withDefaults() Limits {
	fields, defaults := reflect.ValueOf(&l).Elem(), reflect.ValueOf(DefaultLimits())
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			fields.Field(i).Set(defaults.Field(i))
		}
	}
	return l
}

func (l Limits) validate() error {
	fields := reflect.ValueOf(l)
	for i := range fields.NumField() {
		if fields.Field(i).Int() < 0 {
			return fmt.Errorf("vat: Config.Limits.%s is %v: want zero for the default, or more",
				fields.Type().Field(i).Name, fields.Field(i))
		}
	}
	return nil
}

// exceeded counts one refusal for the limit of that name.
func (v *Vat) exceeded(name string) {
	v.countMu.Lock()
	defer v.countMu.Unlock()
	if v.counts == nil {
		v.counts = map[string]uint64{}
	}
	v.counts[name]++
}

// exceededOnWire counts the end of a connection that is for a limit of transport.Limits.
func (v *Vat) exceededOnWire(err error) {
	var bad *transport.FrameError
	var slow *transport.SlowPeerError
	switch {
	case errors.As(err, &bad) && bad.Limit != "":
		v.exceeded(bad.Limit)
	case errors.As(err, &slow):
		v.exceeded("MaxQueuedBytes")
	}
}

// Exceeded says how often something was refused or a session ended for a limit, by the name of its field in
// Limits or transport.Limits, and under "refused Accepts" how often a vat asked for a provision that was not for
// it.
func (v *Vat) Exceeded() map[string]uint64 {
	v.countMu.Lock()
	defer v.countMu.Unlock()
	counts := make(map[string]uint64, len(v.counts))
	for name, n := range v.counts {
		counts[name] = n
	}
	return counts
}

// beyondLimit is the exception for what exceeds the limit of that name, and counts it.
func (v *Vat) beyondLimit(name string, limit int, who string) error {
	v.exceeded(name)
	return overloaded("%s: Limits.%s allows %d", who, name, limit)
}

// A timeLimit is why something ended that took longer than the limit of that name allows.
type timeLimit struct {
	name  string
	after time.Duration
}

func (e *timeLimit) Error() string {
	return fmt.Sprintf("not done within %v: Limits.%s", e.after, e.name)
}

func (e *timeLimit) Unwrap() error { return context.DeadlineExceeded }

// bounded ends with ctx, after the limit of that name, and with the vat.
func (v *Vat) bounded(ctx context.Context, name string, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &timeLimit{name, limit})
	stop := context.AfterFunc(v.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// inTime is err, of something that ctx bounded. Where that took too long it names the limit, and counts it.
func (v *Vat) inTime(ctx context.Context, err error) error {
	var late *timeLimit
	if err == nil || !errors.As(context.Cause(ctx), &late) {
		return err
	}
	v.exceeded(late.name)
	if errors.Is(err, late) {
		return err
	}
	return fmt.Errorf("%w (%v)", late, err)
}
