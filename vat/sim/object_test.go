package sim

import (
	"context"
	"errors"
	"time"

	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/internal/simapi"
)

// object is a Node.
type object struct {
	m  *member
	v  *vat.Vat // it is spawned at
	id uint32
}

var _ simapi.Node_Server = (*object)(nil)

// Shutdown implements server.Shutdowner.
func (o *object) Shutdown() { o.m.w.alive.Add(-1) }

func (o *object) Note(_ context.Context, c simapi.Node_note) error {
	o.m.w.oracle.delivered(o.id, c.Args().Ref(), c.Args().Seq())
	switch c.Args().Mood() {
	case simapi.Node_Mood_slow:
		c.Go()
		o.m.w.pause(time.Millisecond)
	case simapi.Node_Mood_panics:
		panic("on purpose")
	case simapi.Node_Mood_fails:
		return errors.New("on purpose")
	}
	return nil
}

func (o *object) Give(_ context.Context, c simapi.Node_give) error {
	o.m.add(c.Args().Node().AddRef(), c.Args().Height(), "give")
	return nil
}

func (o *object) Take(_ context.Context, c simapi.Node_take) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	n, _ := o.m.copyOf(c.Args().Below())
	return res.SetNode(n)
}

func (o *object) Slow(_ context.Context, c simapi.Node_slow) error {
	below := c.Args().Below()
	c.Go()
	o.m.mu.Lock()
	delay := time.Duration(o.m.rand.IntN(2000)) * time.Microsecond
	o.m.mu.Unlock()
	o.m.w.pause(delay)
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	n, _ := o.m.copyOf(below)
	return res.SetNode(n)
}

func (o *object) Pass(_ context.Context, c simapi.Node_pass) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetNode(c.Args().Node().AddRef())
}

func (o *object) Make(_ context.Context, c simapi.Node_make) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	n, err := o.m.newObject(o.v)
	if err != nil {
		return err
	}
	return res.SetNode(n)
}

func (o *object) Late(_ context.Context, c simapi.Node_late) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	return res.SetNode(o.m.promise(c.Args().Number()))
}

func (o *object) Front(_ context.Context, c simapi.Node_front) error {
	res, err := c.AllocResults()
	if err != nil {
		return err
	}
	n, err := o.m.newFront(o.v, c.Args().Node().AddRef())
	if err != nil {
		return err
	}
	return res.SetNode(n)
}
