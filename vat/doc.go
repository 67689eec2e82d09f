// Package vat is the runtime: a vat of Cap'n Proto RPC, level 3, as a supervised actor system.
//
// It serves and calls what capnpc-go generates, unchanged: hosts are servers of go-capnp, references are
// capnp.Client. A capability that one vat passes to another is handed off, so that the recipient talks to the
// host directly; towards peers that cannot do that it is proxied.
//
// A reader who knows rpc.capnp finds each of its concepts in the file that bears its name. Most files are pure
// protocol: messages in, effects out. The others are the actors around it.
//
// # Order
//
// Two calls made on the same reference are delivered in the order in which they were made, where the first had
// returned from the generated method (not: had its result) before the second was made. That holds for as long as
// the reference is held, whatever happens to it meanwhile: it is a promise and resolves, to something at
// the peer, here, or at a third vat; it is pipelined on a call that has not returned; the road gets shorter
// while calls are under way. A [NewPromise], a bootstrap and a field of results are such references.
//
// A call is delivered at most once. One that fails with disconnected may or may not have been.
//
// Nothing is promised between calls on different references, and results come when they are ready. An object
// runs its calls one at a time, until a method says call.Go, as go-capnp documents it. What is pipelined on a call
// waits for its results; a method can set some of them while it runs (see [SetPipeline]), and order is kept.
//
// # Handoff
//
// A reference to something at a third vat is handed off where it goes over the wire: in parameters, in
// results, as the resolution of a promise. The recipient's vat then connects to the host by itself, which takes
// an address from its [Directory], or one that came with the handoff:
//
//   - at the resolution of a promise, at once, with an embargo that keeps the order of calls;
//   - for a capability that arrives in parameters or results, with the first call on it: until then
//     its Resolve waits, for nobody has asked the host.
//
// Only the vat that the introducer named can pick a capability up, over a session that is authenticated as that
// vat's; knowing the nonce is not enough.
//
// Where the host cannot be reached, or refuses, the calls go on through the introducer, by the vine: all of them, in
// their order, those included that were sent to the host already and that it has turned down with the handoff. Only
// where the session with the host ends while it has such calls and has not answered is it unknown whether they were
// delivered: they fail with disconnected, and the reference breaks, for calls by the vine could overtake them. See
// Vat.Handoffs. The next handoff of the same capability tries again; only a host that was dialed in vain for the whole of
// Limits.Dial is left alone for Limits.Unreached.
//
// A capability that is passed on before its first call is picked up by whoever gets it in the end: those on the way
// sign that they passed it on, and never connect to the host. Not so what an imported promise resolves to, or a Bootstrap or
// an Accept that was called before it returned: that is picked up at once, also where only other vats hold it by now. For
// go-capnp does not tell the references of local code from those that exports keep, and local code is to find the
// shorter road when it calls next.
//
// # Admission
//
// Whoever its Network lets in gets the bootstrap: transport.Config.Admit decides who that is, and package cluster has
// an Admission of members and a list of keys. Peers of level 1, who prove nothing, get it by ServeTwoParty alone.
//
// # Ownership
//
// As in go-capnp: who has a capnp.Client releases it, once; AddRef makes one more. Besides:
//
//   - [Config].Network and Config.Bootstrap, or what Serve returned, are the vat's once [New] has succeeded; Close
//     lets go of them.
//   - [Vat.Bootstrap], NewPromise and [Spawn] give their client to the caller; a Resolver's Fulfill takes the
//     reference that it is given.
//   - Results live until the ReleaseFunc of their call is called: AddRef what is to live longer, copy data. Their memory
//     is used again, so that what looks at them later reads something else. Releasing before the results are here
//     cancels the call, unless another is pipelined on it, or a peer has been given a part of them.
//   - Setting a capability in parameters or results gives the reference to the message.
//   - The arguments of a call are good until the method returns, likewise, and so are the results that it allocates.
//
// An object is shut down when the last reference to it is gone, in this vat and at all peers; those of a peer whose
// session ends are gone with it. Once all references are released, every entry of every table is gone
// too: see [Vat.Tables].
//
// # Sessions
//
// The session with a peer is made when it is first wanted. It ends when neither side has held anything of the other for
// Limits.Idle, and is made anew when it is wanted again; what the peer asks at that very moment is asked again by its
// vat, and no caller notices.
//
// # Errors
//
// What a call fails with is an exception of rpc.capnp: exc.TypeOf (capnproto.org/go/capnp/v3/exc) gives its type.
//
//	failed         the method said so; a call on null, or on what is no capability; cancellation
//	disconnected   the session, the vat or the way to the host is gone; another attempt, on a new reference, may do
//	overloaded     a bound of Limits was reached; the text names it
//	unimplemented  no such method or interface, or no such message at the peer
//
// An exception from a peer has the text that the peer gave, with nothing added on the way. When the caller's
// context ends, the call fails as canceled, and errors.Is finds in that what the context's
// error is (such as context.DeadlineExceeded) and its cause.
//
// A peer that breaks the protocol gets an Abort that says how, and its session ends; so does a panic within the
// runtime while it deals with one peer, with nothing sent of what it was about to do. Either way all other sessions
// and all objects go on, and what was under way with that peer fails with disconnected.
//
// New and the other functions return ordinary errors for what is wrong with their arguments.
//
// # Concurrency
//
// All methods of a [Vat] may be called from any goroutine, and from methods of objects. Config.Tap runs within
// turns and Directory within calls: they must not block, nor call into the vat. Methods of objects run on
// goroutines of go-capnp's servers, and may block; hooks (capnp.ClientHook) of one's own have a goroutine each.
// Such a hook may block also in Shutdown, and a capnp.Returner in Return: no session and no other result waits for that.
// A method that panics ends the process, unless its object was made by [Spawn], which supervises it.
// Close cuts what is in flight; [Vat.Shutdown] has it answered first. Both wait for every goroutine of the vat's, and not
// for methods of objects.
//
// # Call forwarding
//
// A method may end in a call of another capability ([TailCall]). Where that is in another vat, its results go from there
// to the caller directly, if all three vats can do that; a caller who cannot be reached gets them by way of the vat
// in between. A call whose answer does not show up within Limits.Awaited fails with disconnected, and the text says
// who forwarded it to whom.
//
// Tail calls may follow each other through any number of vats. Each tells the caller that it has the call, and then who
// has it next; once that one has told so too, those before are no longer needed, and may be lost. (They might
// instead pass on the right to answer, with a signature, and not speak to the caller at all. But a vat does not know when a
// call comes that its method will end in a tail call, and a caller who has heard of nobody can neither cancel there nor
// tell a slow method from a lost one.) Where a vat on the way has no session with the caller yet, what it passes on comes
// back to it: nobody waits for a dial.
//
// Calls on a promise of this vat's, under way when that resolves to something at another vat, are delivered there in any
// case. With Config.ForwardCalls they are forwarded, too: their results take the shorter way, and this vat may be lost. By
// default these come back by here, for all that a caller has in flight is at stake and not just what a method chose to
// pass on: a forwarded call has a deadline (a vat that stalls for longer than Limits.Awaited fails it), takes twice
// the messages, and what is called on a capability in its results waits for all that was pipelined on them to be
// answered, rather than for a Disembargo. What comes by a vine is never forwarded: its caller could not be reached.
package vat
