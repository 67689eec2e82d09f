package soak

// The phases of a call that bob forwards to carol, with creek pipelined on it, or of one that runs.

// reachForwarded brings the call to its phase. What bob says to alice waits until he has both: then creek takes the old road.
func (f *faultRun) reachForwarded() {
	f.do("bob", "fetch", "carol")
	f.do("alice", "connect", "carol")
	f.do("bob", "forward")
	f.do("alice", "fetch", "bob")
	if f.phase == "running" {
		f.call("tail", waitArg)
		f.await("alice", "in return awaitFromThirdParty", 1)
		f.await("alice", "in thirdPartyAnswer", 1)
		return
	}
	held := map[string][2]string{"forwarded": {"bob", "carol"}, "announced": {"carol", "alice"}, "kept back": {"carol", "bob"}}[f.phase]
	if f.phase != "awaited" && f.phase != "picked up" {
		f.hold(held[0], held[1], true)
	}
	f.hold("bob", "alice", true)
	f.call("tail", "tail")
	f.call("creek", "creek")
	f.await("bob", "in call", 3) // capBla, bar, creek
	if f.phase != "awaited" {
		f.hold("bob", "alice", false)
		f.await("alice", "in return awaitFromThirdParty", 1)
	}
	const before = 3 // two bootstraps and capBla
	switch f.phase {
	case "awaited":
		f.await("alice", "in thirdPartyAnswer", 1)
		f.await("alice", "in return results", before+1) // bar
		f.await("bob", "in return results", 3)          // a bootstrap, capBla, creek
	case "announced":
		f.await("carol", "out thirdPartyAnswer", 1)
		f.await("alice", "in return results", before+1) // creek
	case "kept back":
		f.await("alice", "in thirdPartyAnswer", 1)
		f.await("alice", "in return results", before+1) // bar
	case "picked up":
		f.fates()
	}
}

// laterForwarded has alice make a call once the fault has struck, and has the first one end.
func (f *faultRun) laterForwarded() {
	if f.phase == "running" {
		f.call("bar", "later")
		f.do("carol", "open")
		return
	}
	f.call("creek", "later")
}
