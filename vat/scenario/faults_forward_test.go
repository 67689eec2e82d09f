package scenario

import "slices"

// tailPhases are those of a call of alice's, tail, that bob forwards to carol, and of creek, which she has pipelined on it.
var tailPhases = []phase{
	{"forwarded", "bob>carol", "the call is on its way to carol, and creek behind it"},
	{"awaited", "bob>alice", "carol has answered; that she does is on its way to alice"},
	{"announced", "carol>alice", "carol's answer is on its way, from its announcement on"},
	{"running", "", "the answer is announced, and the call runs"},
	{"kept back", "carol>bob", "the results are here; what was pipelined on the old road has not been answered"},
	{"picked up", "", "the results are here, and creek has returned"},
}

// forward brings the call to its phase.
func (r *faultRun) forward() {
	r.do("do alice c = bootstrap carol")
	r.do("settle")
	if r.phase.held != "" {
		r.do("hold %s", r.phase.held)
	}
	if r.phase.name == "running" {
		r.call("tail", "b.tail C wait g")
		r.do("settle")
		return
	}
	r.call("tail", "b.tail C bar N")
	r.do("do alice n = tail.cap")
	r.call("creek", "n.creek water")
	r.do("settle")
}

// goOn has the call come to its end, and alice make another.
func (r *faultRun) goOn() {
	if r.phase.name == "running" {
		r.do("do carol open g")
		r.call("later", "b.tail C creek later")
		return
	}
	r.call("later", "n.creek later")
}

// verifyForwarded checks what carol's objects ran: each call at most once, in order, and all of those that have returned.
func (r *faultRun) verifyForwarded(ran map[string][]string) {
	whole := slices.Concat(ran["bla"], ran["N"])
	last := -1
	for _, x := range []struct{ call, runs string }{{"tail", "bar N"}, {"tail", "wait g"}, {"creek", "creek water"}, {"later", "creek later"}} {
		at := slices.Index(whole, x.runs)
		switch first := r.phase.name == "running" == (x.runs == "wait g") || x.call != "tail"; {
		case at >= 0 && (at < last || slices.Contains(whole[at+1:], x.runs)):
			r.t.Errorf("%s, %s: carol ran %q", r.phase.name, r.fault, whole)
		case at < 0 && first && r.seen[x.call] == "returned":
			r.t.Errorf("%s, %s: %s has returned, and did not run: %q", r.phase.name, r.fault, x.call, whole)
		}
		last = max(last, at)
	}
}
