package trace

import (
	"encoding/hex"
	"errors"
	"fmt"

	"capnproto.org/go/capnp/v3/schemas"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// Decoder reads messages of rpc.capnp into Lines. It may be used by many goroutines at once.
type Decoder struct {
	vatName func(transport.VatID) string
	names   names
}

// NewDecoder returns a decoder that names vats by vatName (nil: [transport.VatID.Short]), and interfaces and
// methods from registry (nil: none are known). The registry must not change while the decoder is used.
func NewDecoder(vatName func(transport.VatID) string, registry *schemas.Registry) *Decoder {
	if vatName == nil {
		vatName = transport.VatID.Short
	}
	return &Decoder{vatName: vatName, names: names{registry: registry}}
}

// Decode reads msg. What depends on who saw it and when (T, At, From, To) is left for the caller. On an error
// the Line has what could be read: its Msg always.
func (d *Decoder) Decode(msg rpc.Message) (Line, error) {
	l := Line{Msg: msg.Which().String()}
	var err error
	switch msg.Which() {
	case rpc.Message_Which_bootstrap:
		err = d.bootstrap(&l, msg)
	case rpc.Message_Which_call:
		err = d.call(&l, msg)
	case rpc.Message_Which_return:
		err = d.ret(&l, msg)
	case rpc.Message_Which_finish:
		err = d.finish(&l, msg)
	case rpc.Message_Which_resolve:
		err = d.resolve(&l, msg)
	case rpc.Message_Which_release:
		err = d.release(&l, msg)
	case rpc.Message_Which_disembargo:
		err = d.disembargo(&l, msg)
	case rpc.Message_Which_provide:
		err = d.provide(&l, msg)
	case rpc.Message_Which_accept:
		err = d.accept(&l, msg)
	case rpc.Message_Which_thirdPartyAnswer:
		err = d.thirdPartyAnswer(&l, msg)
	case rpc.Message_Which_join:
		err = d.join(&l, msg)
	case rpc.Message_Which_abort:
		err = d.abort(&l, msg)
	}
	if err != nil {
		return l, fmt.Errorf("trace: %s: %w", l.Msg, err)
	}
	return l, nil
}

func (d *Decoder) bootstrap(l *Line, msg rpc.Message) error {
	m, err := msg.Bootstrap()
	l.ID = new(m.QuestionId())
	return err
}

func (d *Decoder) call(l *Line, msg rpc.Message) error {
	m, err := msg.Call()
	if err != nil {
		return err
	}
	l.ID = new(m.QuestionId())
	l.Interface, l.Method = d.names.lookup(m.InterfaceId(), m.MethodId())
	to := m.SendResultsTo()
	l.ResultsTo = to.Which().String()
	target, targetErr := m.Target()
	targetErr = errors.Join(targetErr, d.target(l, target))
	params, paramsErr := m.Params()
	if paramsErr == nil {
		paramsErr = d.payload(l, params)
	}
	if to.Which() == rpc.Call_sendResultsTo_Which_thirdParty {
		var ptrErr error
		l.Recipient, l.Nonce, l.Nonces, ptrErr = d.toAwait(to.ThirdParty())
		return errors.Join(targetErr, paramsErr, ptrErr)
	}
	return errors.Join(targetErr, paramsErr)
}

func (d *Decoder) ret(l *Line, msg rpc.Message) error {
	m, err := msg.Return()
	if err != nil {
		return err
	}
	l.ID, l.ReleaseCaps, l.NoFinish = new(m.AnswerId()), new(m.ReleaseParamCaps()), new(m.NoFinishNeeded())
	l.Which = m.Which().String()
	switch m.Which() {
	case rpc.Return_Which_results:
		results, err := m.Results()
		if err != nil {
			return err
		}
		return d.payload(l, results)
	case rpc.Return_Which_exception:
		return reason(l, m.Exception)
	case rpc.Return_Which_awaitFromThirdParty:
		l.Recipient, l.Nonce, _, err = d.toAwait(m.AwaitFromThirdParty())
		return err
	}
	return nil
}

func (d *Decoder) finish(l *Line, msg rpc.Message) error {
	m, err := msg.Finish()
	l.ID, l.ReleaseCaps = new(m.QuestionId()), new(m.ReleaseResultCaps())
	return err
}

func (d *Decoder) resolve(l *Line, msg rpc.Message) error {
	m, err := msg.Resolve()
	if err != nil {
		return err
	}
	l.ID, l.Which = new(m.PromiseId()), m.Which().String()
	switch m.Which() {
	case rpc.Resolve_Which_cap:
		desc, err := m.Cap()
		if err != nil {
			return err
		}
		c, err := d.capDescriptor(desc)
		l.Caps = []Cap{c}
		return err
	case rpc.Resolve_Which_exception:
		return reason(l, m.Exception)
	}
	return nil
}

func (d *Decoder) release(l *Line, msg rpc.Message) error {
	m, err := msg.Release()
	l.ID, l.Count = new(m.Id()), new(m.ReferenceCount())
	return err
}

func (d *Decoder) disembargo(l *Line, msg rpc.Message) error {
	m, err := msg.Disembargo()
	if err != nil {
		return err
	}
	context := m.Context()
	l.Context = context.Which().String()
	switch context.Which() {
	case rpc.Disembargo_context_Which_senderLoopback:
		l.Embargo = fmt.Sprintf("%08x", context.SenderLoopback())
	case rpc.Disembargo_context_Which_receiverLoopback:
		l.Embargo = fmt.Sprintf("%08x", context.ReceiverLoopback())
	case rpc.Disembargo_context_Which_accept:
		var id []byte
		id, err = context.Accept()
		l.Embargo = hex.EncodeToString(id)
	}
	target, targetErr := m.Target()
	return errors.Join(err, targetErr, d.target(l, target))
}

func (d *Decoder) provide(l *Line, msg rpc.Message) error {
	m, err := msg.Provide()
	if err != nil {
		return err
	}
	l.ID = new(m.QuestionId())
	target, targetErr := m.Target()
	targetErr = errors.Join(targetErr, d.target(l, target))
	l.Recipient, l.Nonce, l.Nonces, err = d.toAwait(m.Recipient())
	return errors.Join(targetErr, err)
}

func (d *Decoder) accept(l *Line, msg rpc.Message) error {
	m, err := msg.Accept()
	if err != nil {
		return err
	}
	l.ID = new(m.QuestionId())
	embargo, embargoErr := m.Embargo()
	ptr, err := m.Provision()
	l.Embargo = hex.EncodeToString(embargo)
	return errors.Join(embargoErr, err, d.toComplete(l, ptr))
}

func (d *Decoder) thirdPartyAnswer(l *Line, msg rpc.Message) error {
	m, err := msg.ThirdPartyAnswer()
	if err != nil {
		return err
	}
	l.ID = new(m.AnswerId())
	ptr, err := m.Completion()
	return errors.Join(err, d.toComplete(l, ptr))
}

func (d *Decoder) join(l *Line, msg rpc.Message) error {
	m, err := msg.Join()
	if err != nil {
		return err
	}
	l.ID = new(m.QuestionId())
	target, err := m.Target()
	return errors.Join(err, d.target(l, target))
}

func (d *Decoder) abort(l *Line, msg rpc.Message) error { return reason(l, msg.Abort) }

// reason reads the reason of an exception from its getter.
func reason(l *Line, exception func() (rpc.Exception, error)) error {
	e, err := exception()
	if err != nil {
		return err
	}
	l.Error, err = e.Reason()
	return err
}
