package vat

import (
	"errors"
	"sync/atomic"

	"capnproto.org/go/capnp/v3"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/actors"
	"github.com/vatwork/vatwork/transport"
)

// A session is the relation to one peer, and one road: everything that concerns the peer passes through its
// mailbox, frames and what local code and other sessions want of it alike.
//
// A turn takes one message and either succeeds, and then its effects are carried out in order, or fails, and
// then none is and the session ends: an Abort for the peer's fault and for ours.
//
// States:
//
//	dialing    no connection yet: what arrives waits in order
//	open       hellos are exchanged: features are known, frames flow
//	ended      why says why: what arrives is rejected with it
//
// It never restarts. Below "turns", fields belong to the turns.
type session struct {
	vat   *Vat
	peer  transport.VatID
	name  string
	queue *actors.Queue
	addrs []string // where it was dialed
	// dialed: by us. confirmed: a frame of the peer's came on the connection that is in use.
	dialed    bool // written with vat.mu held
	guest     bool // of ServeTwoParty; guarded by vat.mu
	transient bool // of DialTwoParty: ends when neither side holds anything of the other
	confirmed atomic.Bool
	hello     atomic.Pointer[transport.Hello] // nil until open
	end       atomic.Pointer[error]           // nil until ended
	done      latch                           // closed when ended
	retired   atomic.Bool                     // it took itself out of the vat's sessions: see idle.go
	after     latch                           // closed when the connection of one that was retired is gone; nil: none was
	host      host

	// turns
	waiting   []any // while dialing
	wire      wire
	out       []effect
	spareOut  []effect  // empty, to take turns with out
	toFree    []freePin // memory for effects
	questions table[question]
	answers   table[answer]
	imports   table[imported]
	exports   table[export]
	embargoes table[embargo]
	left      map[*answerRef]bool        // see answer_left.go
	exported  map[*capnp.Metadata]uint32 // by hook: one export for one capability
	broken    []brokenExport             // Resolves owed at the end of the message being written
	flow      flow
	link      atomic.Pointer[link] // the connection in use, for those who wait for room in it
	embargoed int                  // bytes of calls held back
	heard     uint64               // messages of the peer's
	// resultBytes are of results that are kept until the peer finishes their calls.
	resultBytes int
	announced   idAllocator      // of ids that the callee chooses, from firstAnnounced on
	feeds       int              // of all answers
	spared      bool             // the peer was spared a Finish: see finishPlain
	circular    map[uint32]error // imports that lead to themselves
	closing     bool             // it ends in this turn; and then, when all that was left has been dealt with:
	last        []func()
}

// wire is what the protocol needs of the transport.
type wire interface {
	// send sends m, and says whether it keeps it.
	send(m *capnp.Message) (kept bool)
	abort(m rpc.Message)
	node() Node
}

func newSession(v *Vat, peer transport.VatID, h host) *session {
	s := &session{vat: v, peer: peer, host: h, done: make(latch), exported: map[*capnp.Metadata]uint32{}, circular: map[uint32]error{},
		left: map[*answerRef]bool{}}
	s.questions = newTable[question]("question", h)
	s.answers = newTable[answer]("answer", h)
	s.imports = newTable[imported]("import", h)
	s.exports = newTable[export]("export", h)
	s.embargoes = newTable[embargo]("embargo", h)
	return s
}

// post enqueues m and reports whether the session still takes messages.
func (s *session) post(m any) bool { return s.queue.Enqueue(m) }

// tell is post for messages that need no answer when the session has ended.
func (s *session) tell(m any) {
	if s.post(m) {
		s.wake()
	}
}

func (s *session) wake() { s.queue.Wake() }

func (s *session) run() { s.queue.Run() }

// postOr enqueues m, or says why it cannot.
func (s *session) postOr(m any) error {
	if s.post(m) {
		return nil
	}
	return s.why()
}

// putParcel enqueues m, which carries p, or rejects p.
func (s *session) putParcel(m any, p parcel) {
	if err := s.postOr(m); err != nil {
		p.reject(err)
	}
}

// why is what calls on this session end with.
func (s *session) why() error {
	if e := s.end.Load(); e != nil {
		return *e
	}
	return disconnected("session with %s has ended", s.peer.Short())
}

// has says whether the peer and we both have a feature. False while dialing.
func (s *session) has(f transport.Features) bool {
	h := s.hello.Load()
	return h != nil && h.Features.Has(f)
}

// handle is one turn: it changes the tables and emits effects. A protocolFault is the peer's; a panic is ours.
func (s *session) handle(m any) error {
	switch m := m.(type) {
	case *protocolError:
		return fault("%s", m.reason)
	case *callToImport:
		s.putImport(m.taken())
	case *toImport:
		s.putImport(m.i, m.parcel)
	case *toPipeline:
		s.putPipeline(m)
	case *toEmbargo:
		s.putEmbargo(m.e, m.parcel)
	case *askBootstrap:
		s.sendBootstrap(m)
	case *askProvide:
		s.sendProvide(m)
	case *askAccept:
		s.sendAccept(m)
	case *acceptOverdue:
		s.acceptOverdue(m)
	case *askDisembargo:
		s.sendDisembargo(m)
	case *withdraw:
		s.withdrawn(m.q)
	case *orderLost:
		return m
	case *forwardedAnswer:
		s.answerForwarded(m)
	case *earlyAnswer:
		s.answerSetEarly(m)
	case *lessPipelined:
		s.answerLessPipelined(m)
	case *settledAnswer:
		return s.answerSettled(m)
	case *answerAway:
		s.answerAway(m)
	case *answerAside:
		s.answerAside(m)
	case *answerBack:
		s.answerBack(m)
	case *askAnnounce:
		s.announceAdopted(m)
	case *nobodyWaits:
		s.emit(letGo(m.ref.letGoOfLeft))
	case *adopted:
		s.adopted(m)
	case *adoptedMoved:
		s.adoptedMoved(m)
	case *adoptedResult:
		return s.adoptedResult(m)
	case *claimed:
		s.claimed(m)
	case *cancelAwait:
		s.cancelAwait(m)
	case *whenAnswered:
		s.whenAnswered(m)
	case *resolved:
		s.exportResolved(m)
	case *dropQuestion:
		s.questionDropped((*questionRef)(m))
	case *cancelQuestion:
		s.questionCanceled(m.q, m.err)
	case *dropImport:
		s.importDropped((*importRef)(m))
	case *shorten:
		s.shorten(m)
	case *echo:
		s.emit(letGo(m.reached))
	default:
		panic("vat: message of unknown kind to a session")
	}
	return nil
}

// onFrame takes one message of the peer's, which it owns.
func (s *session) onFrame(msg *capnp.Message) error {
	m, err := rpc.ReadRootMessage(msg)
	if err != nil {
		return fault("unreadable message: %v", err)
	}
	if s.beyond(m.Which()) {
		return s.sendBack(m)
	}
	switch m.Which() {
	case rpc.Message_Which_bootstrap:
		return decoded(s.onBootstrap, m.Bootstrap)
	case rpc.Message_Which_call:
		return decoded(s.onCall, m.Call)
	case rpc.Message_Which_return:
		return decoded(s.onReturn, m.Return)
	case rpc.Message_Which_finish:
		s.emit((*readThrough)(msg))
		return decoded(s.onFinish, m.Finish)
	case rpc.Message_Which_resolve:
		s.emit((*readThrough)(msg))
		return decoded(s.onResolve, m.Resolve)
	case rpc.Message_Which_release:
		s.emit((*readThrough)(msg))
		return decoded(s.onRelease, m.Release)
	case rpc.Message_Which_disembargo:
		s.emit((*readThrough)(msg))
		return decoded(s.onDisembargo, m.Disembargo)
	case rpc.Message_Which_provide:
		s.emit((*readThrough)(msg))
		return decoded(s.onProvide, m.Provide)
	case rpc.Message_Which_accept:
		s.emit((*readThrough)(msg))
		return decoded(s.onAccept, m.Accept)
	case rpc.Message_Which_thirdPartyAnswer:
		if s.has(transport.FeatureCallForwarding) {
			return decoded(s.onThirdPartyAnswer, m.ThirdPartyAnswer)
		}
	case rpc.Message_Which_abort:
		return decoded(s.onAbort, m.Abort)
	case rpc.Message_Which_unimplemented:
		return decoded(s.onUnimplemented, m.Unimplemented)
	}
	// join: of a level that this vat does not have, so it says so.
	return s.sendBack(m)
}

func (s *session) sendBack(m rpc.Message) error {
	back, err := msgUnimplemented(m)
	if err == nil {
		s.send(back)
	}
	return err
}

func decoded[T any](handle func(T) error, read func() (T, error)) error {
	m, err := read()
	if err != nil {
		return fault("unreadable message: %v", err)
	}
	return handle(m)
}

// peerAborted is how a session ends when the peer says so: nothing is sent back.
type peerAborted struct{ error }

func (s *session) onAbort(e rpc.Exception) error {
	err := exception(e)
	if f := (*protocolFault)(nil); errors.As(err, &f) {
		return err
	}
	if s.has(transport.FeatureHandoff) && isIdle(err) {
		return peerIdled{err}
	}
	return peerAborted{err}
}

// onUnimplemented takes back a message of ours: what it asked for counts as failed, what it handed over as
// released.
func (s *session) onUnimplemented(m rpc.Message) error {
	unknown := func(id uint32) error {
		return s.returned(id, result{err: unimplemented("the peer does not implement this message")}, false)
	}
	switch m.Which() {
	case rpc.Message_Which_bootstrap:
		return decoded(func(b rpc.Bootstrap) error { return unknown(b.QuestionId()) }, m.Bootstrap)
	case rpc.Message_Which_call:
		return decoded(func(c rpc.Call) error { return unknown(c.QuestionId()) }, m.Call)
	case rpc.Message_Which_accept:
		return decoded(func(a rpc.Accept) error { return unknown(a.QuestionId()) }, m.Accept)
	case rpc.Message_Which_provide:
		return decoded(func(p rpc.Provide) error { return unknown(p.QuestionId()) }, m.Provide)
	case rpc.Message_Which_resolve:
		return decoded(s.resolveUnimplemented, m.Resolve)
	case rpc.Message_Which_disembargo, rpc.Message_Which_return, rpc.Message_Which_thirdPartyAnswer:
		return fault("the peer does not implement %v, on which the vats had agreed, or without which order cannot be kept", m.Which())
	}
	return nil
}
