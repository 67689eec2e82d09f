package vat

import (
	"runtime"
	"testing"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// A part of one answer leads to a part of another, and another part of that back to the first: that is no circle. What
// is called on the one as the other is put in place must not have each wait for the lock of the other.
func TestAnswersThatLeadToEachOther(t *testing.T) {
	for name, setEarly := range map[string]bool{"both have their results": false, "one has set them early": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "alice")
			c.dirty = true
			v := c.byName["alice"]
			a, b := unanswered(t, v), unanswered(t, v)
			part := func(f uint16) []capnp.PipelineOp { return []capnp.PipelineOp{{Field: f}} }

			waits := &echoed{}
			answerRoad{a: a, path: part(0)}.put(waits)
			across := &crossing{a: a, to: answerRoad{a: a, path: part(1)}, there: make(chan struct{})}
			res := twoCaps(capnp.Client{}, capnp.Client{})
			pins := []pin{{road: &recordedRoad{}}, {road: across}}
			if setEarly {
				b.pipe.setEarly(&early{result: res, pins: pins, fixed: pins})
			} else {
				b.pipe.settle(&res, pins)
			}

			called, placed := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(called)
				answerRoad{a: b, path: part(1)}.put(&echoed{})
			}()
			<-across.there
			go func() {
				defer close(placed)
				a.settled(twoCaps(b.promise.Answer().Field(0, nil).Client().AddRef(), capnp.Client{}))
			}()
			arrives(t, "the results, in their place", placed)
			arrives(t, "the call, on its way", called)
		})
	}
}

// crossing is a road that goes on once the results of a are being put in place.
type crossing struct {
	a     *promisedAnswer
	to    road
	there chan struct{}
}

func (x *crossing) put(p parcel) {
	close(x.there)
	for x.a.mu.TryLock() {
		over := x.a.pipe.res != nil
		x.a.mu.Unlock()
		if over {
			break
		}
		runtime.Gosched()
	}
	x.to.put(p)
}

func (x *crossing) wake() {}
func (x *crossing) run()  {}

// unanswered is the answer to a call that goes nowhere.
func unanswered(t *testing.T, v *Vat) *promisedAnswer {
	_, a, err := v.newLocalCall(t.Context(), capnp.Send{Method: capnp.Method{InterfaceID: testapi.Probe_TypeID}}, &recordedRoad{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// twoCaps are results with two capabilities, which it takes over.
func twoCaps(caps ...capnp.Client) result {
	msg, seg := capnp.NewSingleSegmentMessage(nil)
	root := must(capnp.NewRootStruct(seg, capnp.ObjectSize{PointerCount: uint16(len(caps))}))
	for i, c := range caps {
		check(root.SetPtr(uint16(i), capnp.NewInterface(seg, msg.CapTable().Add(c)).ToPtr()))
	}
	return result{content: root.ToPtr(), release: func() { msg.CapTable().Reset() }}
}
