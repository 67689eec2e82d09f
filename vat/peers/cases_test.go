package peers

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/flowcontrol"

	"github.com/vatwork/vatwork/vat/internal/peerapi"
)

type drive struct {
	name string
	run  func(t *testing.T, p peerapi.Peer)
}

// cases are what a driver does to the Peer of another implementation. Each gets a reference to it, which it
// borrows, and gives back all else that it came to hold.
var cases = []drive{
	{"echo", caseEcho},
	{"order", caseOrder},
	{"exceptions", caseExceptions},
	{"unimplemented", caseUnimplemented},
	{"pipelining", casePipelining},
	{"promise of the peer's", casePromise},
	{"promise that breaks", caseBroken},
	{"promise of the peer's, called meanwhile", casePromiseMeanwhile},
	{"embargo of a promise", caseEmbargo},
	{"embargo of a promise, called meanwhile", caseEmbargoMeanwhile},
	{"embargo of results", caseEmbargoResults},
	{"two promises at once", caseTwoPromises},
	{"cancellation by context", caseCancel},
	{"streaming", caseStreaming},
	{"call back", caseCallBack},
	{"own capability comes back", caseKept},
	{"tail call", caseForward},
}

// notByGo are not for go-capnp's rpc as the driver: its ReleaseFunc waits for the results, and only the context
// cancels.
var notByGo = []drive{
	{"cancellation by release", caseRelease},
}

// notOnGo are not for go-capnp's rpc as the other side: of two capabilities in one result it never lets go of one.
var notOnGo = []drive{
	{"the same twice", caseTwice},
}

func caseEcho(t *testing.T, p peerapi.Peer) {
	for _, size := range []int{0, 1, 100, 1 << 20, 9 << 20} {
		data := bytes.Repeat([]byte{7}, size)
		if got, err := echo(t.Context(), p, data); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("echo of %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}

// counted is 1..n.
func counted(n uint32) []uint32 {
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i + 1)
	}
	return all
}

// sendNotes calls note from..to without waiting, and returns what waits for them all.
func sendNotes(ctx context.Context, p peerapi.Peer, from, to uint32) (wait func() error) {
	var waits []func() error
	for n := from; n <= to; n++ {
		ans, release := p.Note(ctx, noting(n))
		waits = append(waits, func() error {
			defer release()
			_, err := ans.Struct()
			return err
		})
	}
	return func() (err error) {
		for _, w := range waits {
			err = errors.Join(err, w())
		}
		return err
	}
}

func wantNotes(t *testing.T, p peerapi.Peer, n uint32) {
	t.Helper()
	got, err := notes(t.Context(), p)
	if err != nil || !slices.Equal(got, counted(n)) {
		t.Fatalf("notes %v, %v; want 1..%d", got, err, n)
	}
}

// newRecorder is a fresh Peer of the peer's.
func newRecorder(t *testing.T, p peerapi.Peer) peerapi.Peer {
	t.Helper()
	ans, release := p.Self(t.Context(), nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	in, err := res.Inside()
	if err != nil {
		t.Fatal(err)
	}
	r := in.Peer().AddRef()
	t.Cleanup(r.Release)
	return r
}

func caseOrder(t *testing.T, p peerapi.Peer) {
	r := newRecorder(t, p)
	if err := sendNotes(t.Context(), r, 1, 200)(); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, r, 200)
}

func caseExceptions(t *testing.T, p peerapi.Peer) {
	for _, kind := range []exc.Type{exc.Failed, exc.Overloaded, exc.Disconnected, exc.Unimplemented} {
		ans, release := p.Fail(t.Context(), func(a peerapi.Peer_fail_Params) error {
			a.SetKind(uint16(kind))
			return a.SetReason("because of " + kind.String())
		})
		_, err := ans.Struct()
		release()
		wantError(t, err, kind, "because of "+kind.String())
	}
}

func wantError(t *testing.T, err error, kind exc.Type, text string) {
	t.Helper()
	if err == nil || exc.TypeOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v: %v, want %v with %q", exc.TypeOf(err), err, kind, text)
	}
}

func caseUnimplemented(t *testing.T, p peerapi.Peer) {
	ans, release := peerapi.Stranger(p).Nothing(t.Context(), nil)
	defer release()
	_, err := ans.Struct()
	wantError(t, err, exc.Unimplemented, "")
}

func casePipelining(t *testing.T, p peerapi.Peer) {
	first, release := p.Self(t.Context(), nil)
	defer release()
	inside := first.Inside().Peer()
	wait := sendNotes(t.Context(), inside, 1, 20)
	second, release := inside.Self(t.Context(), nil)
	defer release()
	deep := second.Inside().Peer()
	deepWait := sendNotes(t.Context(), deep, 1, 20)
	wantNotes(t, deep, 20)
	wantNotes(t, inside, 20)
	if err := errors.Join(wait(), deepWait()); err != nil {
		t.Fatal(err)
	}
}

// One capability twice in a message: one object, which is let go when both references are.
func caseTwice(t *testing.T, p peerapi.Peer) {
	ans, release := p.Twice(t.Context(), nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	one, two := res.One().AddRef(), res.Two()
	defer one.Release()
	if err := errors.Join(note(t.Context(), one, 1), note(t.Context(), two, 2)); err != nil {
		t.Fatal(err)
	}
	release()
	wantNotes(t, one, 2)
}

// awaitNotes waits until o has seen n notes.
func awaitNotes(t *testing.T, o *object, n int) {
	t.Helper()
	deadline := time.After(patience)
	for len(o.seen()) < n {
		select {
		case <-o.changed:
		case <-deadline:
			t.Fatalf("notes %v, want %d", o.seen(), n)
		}
	}
}

// settled returns when p's side has read all that was sent to it before: go-capnp's Conn.Close waits for ever for a
// method that waits for a Return which has not been read yet.
func settled(t *testing.T, p peerapi.Peer) {
	t.Helper()
	if _, err := echo(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
}

func caseCancel(t *testing.T, p peerapi.Peer) {
	o, to := local(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ans, release := p.Hang(ctx, giving[peerapi.Peer_hang_Params](to))
	defer release()
	awaitNotes(t, o, 1)
	cancel()
	if _, err := ans.Struct(); err == nil {
		t.Fatal("a canceled call has results")
	}
	awaitNotes(t, o, 2)
	settled(t, p)
}

func caseRelease(t *testing.T, p peerapi.Peer) {
	o, to := local(t)
	_, release := p.Hang(t.Context(), giving[peerapi.Peer_hang_Params](to))
	awaitNotes(t, o, 1)
	release()
	awaitNotes(t, o, 2)
	settled(t, p)
}

func caseStreaming(t *testing.T, p peerapi.Peer) {
	r := newRecorder(t, p)
	r.SetFlowLimiter(flowcontrol.NewFixedLimiter(1 << 10))
	writing := func(n uint32) func(peerapi.Peer_write_Params) error {
		return func(a peerapi.Peer_write_Params) error {
			a.SetN(n)
			return nil
		}
	}
	for n := uint32(1); n <= 200; n++ {
		if err := r.Write(t.Context(), writing(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.WaitStreaming(); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, r, 200)
	// What was not sent for the error of an earlier one fails with that, too.
	err := errors.Join(r.Write(t.Context(), writing(0)), r.WaitStreaming())
	wantError(t, err, exc.Failed, "bad write")
}

func caseCallBack(t *testing.T, p peerapi.Peer) {
	o, to := local(t)
	for n := uint32(1); n <= 5; n++ {
		ans, release := p.CallBack(t.Context(), func(a peerapi.Peer_callBack_Params) error {
			a.SetN(n)
			return a.SetPeer(to.AddRef())
		})
		_, err := ans.Struct()
		release()
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := o.seen(); !slices.Equal(got, counted(5)) {
		t.Fatalf("notes %v, want 1..5", got)
	}
}

// What the peer holds of ours lives as long as it does, comes back as itself, and goes with it.
func caseKept(t *testing.T, p peerapi.Peer) {
	o, to := newObject(nil)
	released := false
	defer func() {
		if !released {
			to.Release()
		}
	}()
	if err := keep(t.Context(), p, to); err != nil {
		t.Fatal(err)
	}
	func() {
		ans, release := p.Kept(t.Context(), nil)
		defer release()
		res, err := ans.Struct()
		if err != nil {
			t.Fatal(err)
		}
		back := res.Peer()
		if err := back.Resolve(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !capnp.Client(back).IsSame(capnp.Client(to)) {
			t.Fatalf("%v came back as %v", to, back)
		}
	}()
	to.Release()
	released = true
	select {
	case <-o.down:
		t.Fatal("an object went that the peer held")
	default:
	}
	if err := keep(t.Context(), p, peerapi.Peer{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-o.down:
	case <-time.After(patience):
		t.Fatal("the peer has not released what it held")
	}
}

func caseForward(t *testing.T, p peerapi.Peer) {
	_, to := local(t)
	ans, release := p.Forward(t.Context(), func(a peerapi.Peer_forward_Params) error {
		if err := a.SetData([]byte("there and back")); err != nil {
			return err
		}
		return a.SetPeer(to.AddRef())
	})
	defer release()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := res.Data(); string(got) != "there and back" {
		t.Fatalf("got %q", got)
	}
}
