package vat

import (
	"bytes"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3/exc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/internal/testapi"
)

// Messages of all sizes come through whole, one after the other in memory that is used again: small, from the spares of
// the transport, and too large for the pools of go-capnp's or ours.
func TestSizes(t *testing.T) {
	c := newCluster(t, "alice", "bob")
	bob := c.ready("alice", "bob")
	for round := range 3 {
		for _, size := range []int{16, 3000, 1 << 16, pooledArena + 1<<10, 5 << 20, 100, 1 << 17} {
			data := bytes.Repeat([]byte{byte(size), byte(size >> 8), byte(size >> 16), byte(round)}, size/4)
			if got, err := echoOn(t.Context(), bob, data); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes were sent, %d came back changed: %v", len(data), len(got), err)
			}
		}
	}
}

// What is too large for one message fails by itself: the session, and what else runs on it, go on. Its
// capabilities are released.
func TestTooLarge(t *testing.T) {
	small := func(cfg *Config, tcfg *transport.Config) {
		cfg.Limits.MessageBytes = 1 << 16
		tcfg.Limits.MaxMessageBytes = 1 << 16
	}
	c := newCluster(t)
	c.start("alice", small)
	c.start("bob", small)
	bob := c.ready("alice", "bob")
	wait, release := bob.Wait(t.Context(), nil)
	defer release()

	t.Run("parameters", func(t *testing.T) {
		_, err := echoOn(t.Context(), bob, make([]byte, 1<<16))
		wantError(t, err, exc.Failed, "Limits.MessageBytes")
		mine, client := newProbe("mine")
		ans, release := bob.Many(t.Context(), func(p testapi.Probe_many_Params) error {
			nested, err := p.NewNested()
			if err != nil {
				return err
			}
			if err := nested.SetText(strings.Repeat("x", 1<<16)); err != nil {
				return err
			}
			return nested.SetProbe(client)
		})
		_, err = ans.Struct()
		release()
		wantError(t, err, exc.Failed, "Limits.MessageBytes")
		arrives(t, "the shutdown of mine", mine.down)
	})
	t.Run("results", func(t *testing.T) {
		c.objects["bob"].blowUp = 1 << 16
		_, err := echoOn(t.Context(), bob, []byte("x"))
		wantError(t, err, exc.Failed, "Limits.MessageBytes")
		c.objects["bob"].blowUp = 0
	})
	t.Run("exception", func(t *testing.T) {
		ans, release := bob.Fail(t.Context(), func(p testapi.Probe_fail_Params) error {
			return p.SetReason(strings.Repeat("why ", 1<<13))
		})
		defer release()
		_, err := ans.Struct()
		wantError(t, err, exc.Failed, "why why")
	})
	t.Run("just right", func(t *testing.T) {
		data := bytes.Repeat([]byte{1}, 1<<16-2048)
		if got, err := echoOn(t.Context(), bob, data); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	c.keep("bob", c.locals["bob"])
	c.objects["bob"].let <- struct{}{}
	if _, err := wait.Struct(); err != nil {
		t.Errorf("a call that was under way all the while: %v", err)
	}
}
