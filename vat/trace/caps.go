package trace

import (
	"encoding/hex"
	"errors"
	"fmt"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
)

// maxEntries bounds what is read of a list: one of empty structs can be as long as its sender likes.
const maxEntries = 1 << 12

// entries is how many entries of a list to read.
func entries(n int) (int, error) {
	if n > maxEntries {
		return maxEntries, fmt.Errorf("a list of %d entries: only %d are shown", n, maxEntries)
	}
	return n, nil
}

// target reads a MessageTarget into l.
func (d *Decoder) target(l *Line, target rpc.MessageTarget) error {
	switch target.Which() {
	case rpc.MessageTarget_Which_importedCap:
		l.Target = &Target{Import: new(target.ImportedCap())}
		return nil
	case rpc.MessageTarget_Which_promisedAnswer:
		answer, err := target.PromisedAnswer()
		if err != nil {
			return err
		}
		path, err := transform(answer)
		l.Target = &Target{Answer: new(answer.QuestionId()), Path: path}
		return err
	}
	return fmt.Errorf("unknown target %d", target.Which())
}

// transform reads the pointer fields that a PromisedAnswer follows; never nil.
func transform(answer rpc.PromisedAnswer) ([]uint16, error) {
	path := []uint16{}
	ops, err := answer.Transform()
	if err != nil {
		return path, err
	}
	n, err := entries(ops.Len())
	for i := range n {
		switch op := ops.At(i); op.Which() {
		case rpc.PromisedAnswer_Op_Which_noop:
		case rpc.PromisedAnswer_Op_Which_getPointerField:
			path = append(path, op.GetPointerField())
		default:
			return path, fmt.Errorf("unknown transform %d", op.Which())
		}
	}
	return path, err
}

// payload reads the cap table of params or results into l.
func (d *Decoder) payload(l *Line, payload rpc.Payload) error {
	table, err := payload.CapTable()
	if err != nil {
		return err
	}
	n, err := entries(table.Len())
	for i := range n {
		c, capErr := d.capDescriptor(table.At(i))
		l.Caps = append(l.Caps, c)
		if err == nil {
			err = capErr
		}
	}
	return err
}

func (d *Decoder) capDescriptor(desc rpc.CapDescriptor) (Cap, error) {
	c := Cap{Which: desc.Which().String()}
	switch desc.Which() {
	case rpc.CapDescriptor_Which_senderHosted:
		c.ID = new(desc.SenderHosted())
	case rpc.CapDescriptor_Which_senderPromise:
		c.ID = new(desc.SenderPromise())
	case rpc.CapDescriptor_Which_receiverHosted:
		c.ID = new(desc.ReceiverHosted())
	case rpc.CapDescriptor_Which_receiverAnswer:
		answer, err := desc.ReceiverAnswer()
		if err != nil {
			return c, err
		}
		c.ID = new(answer.QuestionId())
		c.Path, err = transform(answer)
		return c, err
	case rpc.CapDescriptor_Which_thirdPartyHosted:
		third, err := desc.ThirdPartyHosted()
		if err != nil {
			return c, err
		}
		c.Vine = new(third.VineId())
		id, err := third.Id()
		return c, errors.Join(err, d.toContact(&c, id))
	}
	return c, nil
}

// toContact reads what an introducer tells a recipient, or who forwards it the next.
func (d *Decoder) toContact(c *Cap, ptr capnp.Ptr) (err error) {
	contact := transport.ToContact(ptr.Struct())
	c.Vat, err = d.vat(contact.Host())
	data, nonceErr := contact.Nonce()
	c.Nonce = hex.EncodeToString(data)
	if !contact.HasForwards() {
		return errors.Join(err, nonceErr)
	}
	var fromErr, byErr error
	c.Introducer, fromErr = d.vat(contact.Introducer())
	c.By, byErr = d.forwarders(contact.Recipient, contact.Forwards)
	return errors.Join(err, nonceErr, fromErr, byErr)
}

// forwarders are the vats that have passed a contact on, oldest first.
func (d *Decoder) forwarders(recipient func() (transport.VatId, error), forwards func() (transport.Forward_List, error)) ([]string, error) {
	first, err := d.vat(recipient())
	if err != nil {
		return nil, err
	}
	hops, err := transport.DecodeForwards(forwards())
	if err != nil {
		return nil, err
	}
	by := []string{first}
	for _, hop := range hops {
		by = append(by, d.vatName(hop.To))
	}
	return by[:len(hops)], nil
}

// toAwait reads what an introducer tells a provider: one nonce in a provide, one for each capability of
// the results in a call.
func (d *Decoder) toAwait(ptr capnp.Ptr, err error) (recipient, nonce string, nonces []string, _ error) {
	if err != nil {
		return "", "", nil, err
	}
	await := transport.ToAwait(ptr.Struct())
	recipient, err = d.vat(await.Recipient())
	data, nonceErr := await.Nonce()
	results, resultsErr := await.Results()
	if err := errors.Join(err, nonceErr, resultsErr); err != nil {
		return recipient, "", nil, err
	}
	n, listErr := entries(results.Len())
	for i := range n {
		data, err := results.At(i).Nonce()
		if err != nil {
			return recipient, "", nonces, err
		}
		nonces = append(nonces, hex.EncodeToString(data))
	}
	return recipient, hex.EncodeToString(data), nonces, listErr
}

// toComplete reads what a recipient tells a provider.
func (d *Decoder) toComplete(l *Line, ptr capnp.Ptr) (err error) {
	complete := transport.ToComplete(ptr.Struct())
	l.Introducer, err = d.vat(complete.Introducer())
	data, nonceErr := complete.Nonce()
	l.Nonce = hex.EncodeToString(data)
	if !complete.HasForwards() {
		return errors.Join(err, nonceErr)
	}
	var byErr error
	l.By, byErr = d.forwarders(complete.Recipient, complete.Forwards)
	return errors.Join(err, nonceErr, byErr)
}

func (d *Decoder) vat(id transport.VatId, err error) (string, error) {
	if err != nil {
		return "", err
	}
	vat, err := transport.DecodeVatID(id)
	if err != nil {
		return "", err
	}
	return d.vatName(vat), nil
}
