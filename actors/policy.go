package actors

import (
	"fmt"
	"time"
)

// A Directive says what becomes of an object when one of its methods panics.
type Directive int

const (
	// Restart makes a new instance, as long as the budget lasts; then the object stops.
	Restart Directive = iota
	// Stop ends the object at once.
	Stop
	// Escalate ends the object, and makes its failure that of its supervisor.
	Escalate
)

// A Policy is how an object is supervised. The zero Policy is that of DefaultPolicy.
type Policy struct {
	On Directive

	// Restarts is how many an object may have within the time Within; one more, and it stops. 0 means 10;
	// negative means none.
	Restarts int
	// Within is the time for which a restart counts against the budget. 0 means one minute.
	Within time.Duration

	// Backoff is how long calls wait for the second restart that falls within the budget's time; the first
	// is at once, each further one takes twice as long, up to MaxBackoff. 0 means 10 ms, and 5 s.
	Backoff, MaxBackoff time.Duration
}

// DefaultPolicy restarts ten times a minute.
func DefaultPolicy() Policy {
	return Policy{Restarts: 10, Within: time.Minute, Backoff: 10 * time.Millisecond, MaxBackoff: 5 * time.Second}
}

func (p Policy) withDefaults() (Policy, error) {
	d := DefaultPolicy()
	if p.Restarts == 0 {
		p.Restarts = d.Restarts
	}
	for _, f := range []struct{ field, value *time.Duration }{
		{&p.Within, &d.Within}, {&p.Backoff, &d.Backoff}, {&p.MaxBackoff, &d.MaxBackoff},
	} {
		if *f.field < 0 {
			return p, fmt.Errorf("actors: Policy has a negative time: %+v", p)
		}
		if *f.field == 0 {
			*f.field = *f.value
		}
	}
	if p.On < Restart || p.On > Escalate {
		return p, fmt.Errorf("actors: Policy.On is %d, which is no Directive", p.On)
	}
	return p, nil
}

// defaultPolicy is shared by all who have it.
var defaultPolicy = DefaultPolicy()

// shared is p with its defaults, not to be changed.
func (p Policy) shared() (*Policy, error) {
	if p == (Policy{}) {
		return &defaultPolicy, nil
	}
	p, err := p.withDefaults()
	return &p, err
}

// budget counts the restarts of one object. It is pure: the time is handed in.
type budget struct {
	policy *Policy
	at     []time.Time // restarts that still count, oldest first; at most policy.Restarts
}

// spend asks for one restart: after how long, or that there is none.
func (b *budget) spend(now time.Time) (wait time.Duration, ok bool) {
	if b.policy.On != Restart {
		return 0, false
	}
	for len(b.at) > 0 && now.Sub(b.at[0]) >= b.policy.Within {
		b.at = b.at[1:]
	}
	n := len(b.at)
	if n >= b.policy.Restarts {
		return 0, false
	}
	b.at = append(b.at, now)
	if n == 0 {
		return 0, true
	}
	wait = b.policy.Backoff
	for range n - 1 {
		if wait *= 2; wait >= b.policy.MaxBackoff {
			break
		}
	}
	return min(wait, b.policy.MaxBackoff), true
}
