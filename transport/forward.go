package transport

import (
	"crypto/ed25519"
	"fmt"
)

// MaxForwards is how often a contact may have been passed on. Whoever holds one that has come so far accepts it, and
// provides anew.
const MaxForwards = 8

// forwardLabel opens what is signed, so that no signature of another purpose can serve as one of these.
const forwardLabel = "vatwork/1 forwarded contact"

// An Introduced is an introduction: who made it, of whom, to whom, and how it was passed on since. It is what the
// host checks before it hands out what was provided.
//
// It says who may accept, and nothing more: that is the recipient or, where there are forwards, the vat that the last
// of them is to. Each forward is signed by whoever the one before is to, over all that names the introduction: so a
// chain can be neither cut nor mended by those who only see it.
type Introduced struct {
	Host       VatID
	Introducer VatID
	Nonce      [16]byte
	Recipient  VatID // whom the introducer named
	Forwards   []Hop // oldest first
}

// A Hop is the schema's Forward.
type Hop struct {
	To        VatID
	Signature []byte // of 64 bytes, none for plain ids
}

// Holder is who may accept.
func (c Introduced) Holder() VatID {
	if n := len(c.Forwards); n > 0 {
		return c.Forwards[n-1].To
	}
	return c.Recipient
}

// Forward is c as its holder passes it on to another. sign is the holder's [Network.Sign]. It fails where c has come
// too far already, and where to is of another name space.
func (c Introduced) Forward(to VatID, sign func([]byte) []byte) (Introduced, error) {
	if len(c.Forwards) >= MaxForwards {
		return c, fmt.Errorf("transport: the contact was forwarded %d times already", len(c.Forwards))
	}
	if to.IsPlain() != c.Host.IsPlain() {
		return c, fmt.Errorf("transport: a contact of %s cannot be forwarded to %s", c.Host, to)
	}
	hop := Hop{To: to, Signature: sign(c.signed(c.Holder(), to))}
	c.Forwards = append(c.Forwards[:len(c.Forwards):len(c.Forwards)], hop)
	return c, nil
}

// Cut is c as by had it, if by is among those who have passed it on: then it need not go round by the others. Else
// it is c itself.
func (c Introduced) Cut(by VatID) Introduced {
	if c.Recipient == by {
		c.Forwards = nil
		return c
	}
	for i, hop := range c.Forwards {
		if hop.To == by {
			c.Forwards = c.Forwards[:i+1]
			return c
		}
	}
	return c
}

// Verify says why c is not what it says, nil if it is: each forward is signed by whoever the one before is to, and all
// are of one name space, so that nothing rests on what plain mode cannot prove. It does not know whether the
// introduction was made, nor whether c is where it belongs: see Holder.
func (c Introduced) Verify() error {
	by := c.Recipient
	for i, hop := range c.Forwards {
		if by.IsPlain() != c.Host.IsPlain() || hop.To.IsPlain() != c.Host.IsPlain() {
			return fmt.Errorf("transport: forward %d is from %s to %s, and the host is %s", i, by, hop.To, c.Host)
		}
		key, ok := by.PublicKey()
		switch {
		case !ok && len(hop.Signature) != 0:
			return fmt.Errorf("transport: forward %d is signed by %s, which has no key", i, by)
		case ok && !ed25519.Verify(key, c.signed(by, hop.To), hop.Signature):
			return fmt.Errorf("transport: forward %d is not signed by %s", i, by)
		}
		by = hop.To
	}
	return nil
}

// signed is what a forward's signature is over.
func (c Introduced) signed(by, to VatID) []byte {
	b := []byte(forwardLabel)
	b = c.Host.appendTo(b)
	b = c.Introducer.appendTo(b)
	b = append(b, c.Nonce[:]...)
	b = by.appendTo(b)
	return to.appendTo(b)
}

// EncodeForwards writes c's forwards into the list that room makes.
func (c Introduced) EncodeForwards(room func(int32) (Forward_List, error)) error {
	list, err := room(int32(len(c.Forwards)))
	if err != nil {
		return err
	}
	for i, hop := range c.Forwards {
		to, err := list.At(i).NewTo()
		if err != nil {
			return err
		}
		if err := hop.To.Encode(to); err != nil {
			return err
		}
		if err := list.At(i).SetSignature(hop.Signature); err != nil {
			return err
		}
	}
	return nil
}

// DecodeForwards reads what a peer wrote: well-formed, and not verified.
func DecodeForwards(list Forward_List, err error) ([]Hop, error) {
	if err != nil {
		return nil, err
	}
	if list.Len() > MaxForwards {
		return nil, fmt.Errorf("transport: %d forwards, at most %d are allowed", list.Len(), MaxForwards)
	}
	hops := make([]Hop, list.Len())
	for i := range hops {
		to, err := list.At(i).To()
		if err != nil {
			return nil, err
		}
		if hops[i].To, err = DecodeVatID(to); err != nil {
			return nil, err
		}
		sig, err := list.At(i).Signature()
		if err != nil {
			return nil, err
		}
		if len(sig) != 0 && len(sig) != ed25519.SignatureSize {
			return nil, fmt.Errorf("transport: a forward with a signature of %d bytes", len(sig))
		}
		hops[i].Signature = append([]byte(nil), sig...)
	}
	return hops, nil
}
