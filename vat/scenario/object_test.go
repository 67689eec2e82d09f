package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/scenario/play"
)

// A thing is an object of a scenario file. It tells its vat of each call before it does anything else.
type thing struct {
	of   *member
	name string
}

var _ play.Thing_Server = thing{}

// cargo are the parameters or the results of every method.
type served interface {
	Args() play.Cargo
	AllocResults() (play.Cargo, error)
	Go()
}

// begin notes the call and returns its text.
func (t thing) begin(method string, call served) (string, error) {
	text, err := call.Args().Text()
	t.of.note(t.name, strings.TrimSpace(method+" "+text))
	return text, err
}

func (t thing) Foo(_ context.Context, call play.Thing_foo) error {
	text, err := t.begin("foo", call)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	c, err := t.of.known(text)
	if err != nil {
		return err
	}
	return results.SetCap(play.Thing(c))
}

func (t thing) Bar(_ context.Context, call play.Thing_bar) error {
	text, err := t.begin("bar", call)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCap(play.Thing(t.of.newObject(text)))
}

func (t thing) Creek(_ context.Context, call play.Thing_creek) error {
	text, err := t.begin("creek", call)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetText(text + " of " + t.name)
}

func (t thing) Keep(_ context.Context, call play.Thing_keep) error {
	text, err := t.begin("keep", call)
	if err != nil {
		return err
	}
	caps, err := capsIn(call.Args())
	if err != nil {
		return err
	}
	for i, name := range strings.Split(text, " ") {
		if i >= len(caps) {
			return errors.New("keep: more names than capabilities")
		}
		t.of.set(name, caps[i].AddRef())
	}
	return nil
}

// capsIn are the capabilities of c: its own, those of the list, those of what is nested. They are borrowed.
func capsIn(c play.Cargo) ([]capnp.Client, error) {
	var caps []capnp.Client
	if c.HasCap() {
		caps = append(caps, capnp.Client(c.Cap()))
	}
	list, err := c.List()
	if err != nil {
		return nil, err
	}
	for i := range list.Len() {
		x, err := list.At(i)
		if err != nil {
			return nil, err
		}
		caps = append(caps, capnp.Client(x))
	}
	if !c.HasNested() {
		return caps, nil
	}
	nested, err := c.Nested()
	if err != nil {
		return nil, err
	}
	more, err := capsIn(nested)
	return append(caps, more...), err
}

func (t thing) Back(_ context.Context, call play.Thing_back) error {
	if _, err := t.begin("back", call); err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return capnp.Struct(results).CopyFrom(capnp.Struct(call.Args()))
}

func (t thing) Wait(ctx context.Context, call play.Thing_wait) error {
	text, err := t.begin("wait", call)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	if err := results.SetCap(call.Args().Cap().AddRef()); err != nil {
		return err
	}
	call.Go()
	select {
	case <-t.of.gate(text):
		return nil
	case <-ctx.Done():
		t.of.note(t.name, "canceled "+text)
		return ctx.Err()
	}
}

func (t thing) Pipe(ctx context.Context, call play.Thing_pipe) error {
	text, err := t.begin("pipe", call)
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	gate, name, _ := strings.Cut(text, " ")
	c := capnp.Client(call.Args().Cap())
	if known, ok := t.of.get(name); ok {
		c = known
	}
	if err := results.SetCap(play.Thing(c.AddRef())); err != nil {
		return err
	}
	if err := vat.SetPipeline(ctx, results); err != nil {
		return err
	}
	call.Go()
	select {
	case <-t.of.gate(gate):
		return results.SetText("through " + gate)
	case <-ctx.Done():
		t.of.note(t.name, "canceled "+text)
		return ctx.Err()
	}
}

func (t thing) Fail(_ context.Context, call play.Thing_fail) error {
	text, err := t.begin("fail", call)
	if err != nil {
		return err
	}
	return parseException(text)
}

// exceptionTypes are the types of rpc.capnp by their names there.
var exceptionTypes = map[string]exc.Type{
	"failed":        exc.Failed,
	"overloaded":    exc.Overloaded,
	"disconnected":  exc.Disconnected,
	"unimplemented": exc.Unimplemented,
}

// parseException reads "type: reason".
func parseException(text string) error {
	name, reason, ok := strings.Cut(text, ": ")
	kind, known := exceptionTypes[name]
	if !ok || !known {
		return fmt.Errorf("no exception: %q", text)
	}
	return exc.New(kind, "", reason)
}

func (t thing) Poke(ctx context.Context, call play.Thing_poke) error {
	text, err := t.begin("poke", call)
	if err != nil {
		return err
	}
	to := call.Args().Cap().AddRef()
	defer to.Release()
	call.Go()
	ans, release := to.Creek(ctx, func(c play.Cargo) error { return c.SetText(text) })
	defer release()
	got, err := ans.Struct()
	if err != nil {
		return err
	}
	text, err = got.Text()
	if err != nil {
		return err
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetText(text)
}

// thingMethod is a method of play.Thing's client, as an expression: all have the same parameters and results.
type thingMethod = func(play.Thing, context.Context, func(play.Cargo) error) (play.Cargo_Future, capnp.ReleaseFunc)

var tailMethods = map[string]thingMethod{
	"foo": play.Thing.Foo, "bar": play.Thing.Bar, "creek": play.Thing.Creek, "back": play.Thing.Back,
	"wait": play.Thing.Wait, "fail": play.Thing.Fail, "tail": play.Thing.Tail,
}

func (t thing) Tail(ctx context.Context, call play.Thing_tail) error {
	text, err := t.begin("tail", call)
	if err != nil {
		return err
	}
	words := strings.SplitN(text+" ", " ", 3)
	to, ok := t.of.get(words[0])
	method := tailMethods[words[1]]
	if !ok || method == nil {
		return fmt.Errorf("no tail call: %q", text)
	}
	return vat.TailCall(ctx, call, play.Thing(to), method, func(c play.Cargo) error {
		if call.Args().HasCap() {
			if err := c.SetCap(call.Args().Cap().AddRef()); err != nil {
				return err
			}
		}
		return c.SetText(strings.TrimSpace(words[2]))
	})
}

// Shutdown runs when the last reference is gone.
func (t thing) Shutdown() { t.of.gone(t.name) }
