package vat

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat/internal/testapi"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

func TestCall(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	got, err := echoOn(t.Context(), bob, []byte("hello"))
	if err != nil || string(got) != "hello" {
		t.Fatalf("echo: %q, %v", got, err)
	}
}

// An exception keeps its type and its text.
func TestExceptionTypes(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	for _, typ := range []exc.Type{exc.Failed, exc.Overloaded, exc.Disconnected, exc.Unimplemented} {
		ans, release := bob.Fail(t.Context(), func(p testapi.Probe_fail_Params) error {
			p.SetType(uint16(typ))
			return p.SetReason("because of " + typ.String())
		})
		_, err := ans.Struct()
		release()
		wantError(t, err, typ, "because of "+typ.String())
	}
}

func TestUnknownInterfaceAndMethod(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	ans, release := testapi.Stranger(bob).Nothing(t.Context(), nil)
	_, err := ans.Struct()
	release()
	wantError(t, err, exc.Unimplemented, "")

	beyond, release := capnp.Client(bob).SendCall(t.Context(), capnp.Send{
		Method: capnp.Method{InterfaceID: testapi.Probe_TypeID, MethodID: 99},
	})
	_, err = beyond.Struct()
	release()
	wantError(t, err, exc.Unimplemented, "")
}

// What a null capability in the parameters is at the other end.
func TestNullInParametersAndResults(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	ans, release := bob.Pass(t.Context(), nil)
	defer release()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	if res.Probe().IsValid() {
		t.Errorf("null came back as %v", res.Probe())
	}
}

// Ten calls deep, each pipelined on the one before, in one go.
func TestPipelineDepth(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	c.link("alice", "bob").Hold()
	bob := c.bootstrap("alice", "bob")
	at := bob
	var releases []capnp.ReleaseFunc
	for range 10 {
		ans, release := at.Self(t.Context(), nil)
		releases = append(releases, release)
		at = ans.Probe()
	}
	ans, release := at.Echo(t.Context(), func(p testapi.Probe_echo_Params) error { return p.SetData([]byte("deep")) })
	defer release()
	for _, r := range releases {
		r() // the calls pipelined on them need them, still
	}
	c.link("alice", "bob").Free()
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := res.Data(); string(data) != "deep" {
		t.Errorf("got %q", data)
	}
}

// An exception reaches all that is pipelined on the call, with its type and text.
func TestPipelinedOnFailure(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	ans, release := capnp.Client(bob).SendCall(t.Context(), capnp.Send{
		Method:   capnp.Method{InterfaceID: testapi.Probe_TypeID, MethodID: 5},
		ArgsSize: capnp.ObjectSize{DataSize: 8, PointerCount: 1},
		PlaceArgs: func(s capnp.Struct) error {
			s.SetUint16(0, uint16(exc.Overloaded))
			return s.SetText(0, "too much")
		},
	})
	defer release()
	at := testapi.Probe(ans.Field(0, nil).Client())
	wantError(t, noteOn(t.Context(), at, 1, 1), exc.Overloaded, "too much")
}

// A list of capabilities and nested structs of them go there and back.
func TestCapabilitiesInStructsAndLists(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	mine, client := newProbe("mine")
	defer client.Release()
	ans, release := bob.Many(t.Context(), func(p testapi.Probe_many_Params) error {
		list, err := p.NewProbes(3)
		if err != nil {
			return err
		}
		for i, x := range []testapi.Probe{client.AddRef(), bob.AddRef(), client.AddRef()} {
			if err := list.Set(i, x); err != nil {
				return err
			}
		}
		outer, err := p.NewNested()
		if err != nil {
			return err
		}
		inner, err := outer.NewNested()
		if err != nil {
			return err
		}
		if err := inner.SetText("inner"); err != nil {
			return err
		}
		return inner.SetProbe(client.AddRef())
	})
	defer release()
	deep := testapi.Probe(ans.Field(1, nil).Field(2, nil).Field(1, nil).Client())
	if err := noteOn(t.Context(), deep, 1, 1); err != nil {
		t.Fatalf("pipelined on a nested struct: %v", err)
	}
	res, err := ans.Struct()
	if err != nil {
		t.Fatal(err)
	}
	list, err := res.Probes()
	if err != nil || list.Len() != 3 {
		t.Fatalf("list of %d: %v", list.Len(), err)
	}
	for i, want := range []testapi.Probe{client, bob, client} {
		got, err := list.At(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Resolve(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := noteOn(t.Context(), got, 2, uint32(i)+1); err != nil {
			t.Fatalf("call on element %d: %v", i, err)
		}
		if i != 1 && !got.IsSame(want) {
			t.Errorf("element %d is %v, want %v", i, got, want)
		}
	}
	if got := mine.seen(); !slices.Equal(got, []note{{1, 1}, {2, 1}, {2, 3}}) {
		t.Errorf("mine noted %v", got)
	}
	if got := c.objects["bob"].seen(); !slices.Equal(got, []note{{2, 2}}) {
		t.Errorf("bob noted %v", got)
	}
}

func TestStreaming(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	write := func(n uint32) error {
		return bob.Write(t.Context(), func(p testapi.Probe_write_Params) error { p.SetN(n); return nil })
	}
	for n := range uint32(1000) {
		if err := write(n + 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := bob.WaitStreaming(); err != nil {
		t.Fatal(err)
	}
	c.objects["bob"].wantOrder(t, 1, 1000)
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	wantError(t, bob.WaitStreaming(), exc.Overloaded, "nothing written")
	wantError(t, write(1), exc.Overloaded, "nothing written")
}

func TestReferences(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	more := bob.AddRef()
	if !bob.IsValid() || !bob.IsSame(more) {
		t.Errorf("%v and %v, references to the same, differ", bob, more)
	}
	bob.Release()
	bob.Release() // a second time does nothing
	if bob.IsValid() {
		t.Errorf("%v is valid after its release", bob)
	}
	if err := noteOn(t.Context(), more, 1, 1); err != nil {
		t.Errorf("call on the last reference: %v", err)
	}
	if err := noteOn(t.Context(), bob, 1, 1); err == nil {
		t.Errorf("a call on a released reference succeeded")
	}
	more.Release()
}

// What the peer sends twice while the first is held is one capability.
func TestSameCapabilityTwice(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	_, client := newProbe("object")
	c.keep("bob", client)
	client.Release()
	first, release := bob.Kept(t.Context(), nil)
	defer release()
	second, release := bob.Kept(t.Context(), nil)
	defer release()
	a, err := first.Struct()
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.Struct()
	if err != nil {
		t.Fatal(err)
	}
	if !a.Probe().IsSame(b.Probe()) {
		t.Errorf("%v and %v differ", a.Probe(), b.Probe())
	}
	if n := c.byName["alice"].Tables().Imports; n != 2 {
		t.Errorf("%d imports, want the bootstrap and one object", n)
	}
}

// An object goes when the last reference anywhere does, and not before.
func TestShutdownWithLastReference(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	mine, client := newProbe("mine")
	if err := keepOn(t.Context(), bob, client); err != nil {
		t.Fatal(err)
	}
	client.Release()
	kept, release := bob.Kept(t.Context(), nil)
	if err := noteOn(t.Context(), kept.Probe(), 1, 1); err != nil {
		t.Fatal(err)
	}
	release()
	select {
	case <-mine.down:
		t.Fatal("the object was shut down while bob holds it")
	default:
	}
	if err := keepOn(t.Context(), bob, testapi.Probe{}); err != nil {
		t.Fatal(err)
	}
	arrives(t, "the shutdown of mine", mine.down)
}

func TestLargeParameters(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.bootstrap("alice", "bob")
	for _, size := range []int{0, 1, 1 << 20, 20 << 20} {
		data := bytes.Repeat([]byte{7}, size)
		got, err := echoOn(t.Context(), bob, data)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("echo of %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}
