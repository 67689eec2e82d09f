package actors

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	const no = time.Duration(-1)
	ms := time.Millisecond
	usual := Policy{Restarts: 4, Within: time.Second, Backoff: 10 * ms, MaxBackoff: 35 * ms}
	tests := []struct {
		name   string
		policy Policy
		at     []time.Duration // when each failure comes
		want   []time.Duration // how long until the restart
	}{
		{"the first is at once, then it doubles up to the maximum", usual,
			[]time.Duration{0, 0, 0, 0}, []time.Duration{0, 10 * ms, 20 * ms, 35 * ms}},
		{"one more than it may", usual,
			[]time.Duration{0, 1 * ms, 2 * ms, 3 * ms, 4 * ms}, []time.Duration{0, 10 * ms, 20 * ms, 35 * ms, no}},
		{"spread out, each is the first", usual,
			[]time.Duration{0, 1000 * ms, 2000 * ms, 3000 * ms, 4000 * ms, 5000 * ms}, make([]time.Duration, 6)},
		{"just within the time", usual,
			[]time.Duration{0, 999 * ms}, []time.Duration{0, 10 * ms}},
		{"what no longer counts makes room", usual,
			[]time.Duration{0, 900 * ms, 910 * ms, 920 * ms, 930 * ms, 1000 * ms, 1001 * ms},
			[]time.Duration{0, 10 * ms, 20 * ms, 35 * ms, no, 35 * ms, no}},
		{"none", Policy{Restarts: -1}, []time.Duration{0}, []time.Duration{no}},
		{"stop", Policy{On: Stop}, []time.Duration{0}, []time.Duration{no}},
		{"escalate", Policy{On: Escalate}, []time.Duration{0}, []time.Duration{no}},
		{"a backoff beyond the maximum", Policy{Backoff: time.Hour, MaxBackoff: time.Second},
			[]time.Duration{0, 0, 0}, []time.Duration{0, time.Second, time.Second}},
		{"default", Policy{}, make([]time.Duration, 11),
			[]time.Duration{0, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1280 * ms, 2560 * ms, no}},
		{"default, long after", Policy{Restarts: 20}, make([]time.Duration, 12),
			[]time.Duration{0, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1280 * ms, 2560 * ms, 5 * time.Second, 5 * time.Second}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			policy, err := test.policy.shared()
			if err != nil {
				t.Fatal(err)
			}
			b := budget{policy: policy}
			start := time.Unix(1e9, 0)
			for i, at := range test.at {
				wait, ok := b.spend(start.Add(at))
				if !ok {
					wait = no
				}
				if wait != test.want[i] {
					t.Errorf("failure %d, after %v: restart after %v, want %v (%v is never)", i, at, wait, test.want[i], no)
				}
			}
			if n := len(b.at); n > max(policy.Restarts, 0) {
				t.Errorf("%d restarts are remembered, more than the %d that count", n, policy.Restarts)
			}
		})
	}
}

func TestPolicyIsChecked(t *testing.T) {
	for _, p := range []Policy{
		{On: -1}, {On: Escalate + 1}, {Within: -1}, {Backoff: -1}, {MaxBackoff: -1},
	} {
		if _, err := p.withDefaults(); err == nil {
			t.Errorf("%+v passed", p)
		}
		if _, err := NewHost(nil, HostConfig{Policy: p}); err == nil {
			t.Errorf("NewHost took %+v", p)
		}
	}
	if p, err := (Policy{}).shared(); err != nil || *p != DefaultPolicy() {
		t.Errorf("the zero Policy is %+v, %v", p, err)
	}
}
