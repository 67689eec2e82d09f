package sim

import (
	"context"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/simapi"
)

// front is a Node that answers whatever it is called for by a tail call of another one. To the oracle it is not there:
// calls on it arrive at the other one, in their order, once.
type front struct {
	m  *member
	to simapi.Node
}

var _ simapi.Node_Server = (*front)(nil)

// newFront makes a front of to, which it takes over, at v.
func (m *member) newFront(v *vat.Vat, to simapi.Node) (simapi.Node, error) {
	m.w.alive.Add(1)
	f := &front{m, to}
	if m.w.plan.native && m.w.oracle.newObject()%2 == 0 {
		return simapi.Node_ServerToClient(f), nil
	}
	c, err := vat.Spawn[simapi.Node](v, simapi.Node_Methods, func() simapi.Node_Server { return f })
	if err != nil {
		f.Shutdown()
	}
	return c, err
}

// Shutdown implements server.Shutdowner.
func (f *front) Shutdown() {
	f.to.Release()
	f.m.w.alive.Add(-1)
}

func (f *front) Note(ctx context.Context, c simapi.Node_note) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Note, func(p simapi.Node_note_Params) error {
		p.SetRef(c.Args().Ref())
		p.SetSeq(c.Args().Seq())
		p.SetMood(c.Args().Mood())
		return nil
	})
}

func (f *front) Give(ctx context.Context, c simapi.Node_give) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Give, func(p simapi.Node_give_Params) error {
		p.SetHeight(c.Args().Height())
		return p.SetNode(c.Args().Node().AddRef())
	})
}

func (f *front) Take(ctx context.Context, c simapi.Node_take) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Take, func(p simapi.Node_take_Params) error {
		p.SetBelow(c.Args().Below())
		return nil
	})
}

func (f *front) Slow(ctx context.Context, c simapi.Node_slow) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Slow, func(p simapi.Node_slow_Params) error {
		p.SetBelow(c.Args().Below())
		return nil
	})
}

func (f *front) Pass(ctx context.Context, c simapi.Node_pass) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Pass, func(p simapi.Node_pass_Params) error {
		return p.SetNode(c.Args().Node().AddRef())
	})
}

func (f *front) Make(ctx context.Context, c simapi.Node_make) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Make, nil)
}

func (f *front) Late(ctx context.Context, c simapi.Node_late) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Late, func(p simapi.Node_late_Params) error {
		p.SetNumber(c.Args().Number())
		return nil
	})
}

func (f *front) Front(ctx context.Context, c simapi.Node_front) error {
	return vat.TailCall(ctx, c, f.to, simapi.Node.Front, func(p simapi.Node_front_Params) error {
		return p.SetNode(c.Args().Node().AddRef())
	})
}
