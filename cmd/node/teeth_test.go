package main

import (
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/trace"
)

// The demo has teeth: where embargoes are ignored, the second bar overtakes the first on the held link, and the demo
// fails and says so. What overtakes is decided between two links at Carol, so it is given several runs.
func TestDemoFailsWithoutEmbargoes(t *testing.T) {
	const runs, want = 10, `FAILED: Carol's objects were called in the order ["bar second" "bar first"`
	for range runs {
		folder := t.TempDir()
		cmd, stdout, _ := vatnode(t, folder, "demo", "--hold", "100ms")
		cmd.Env = append(cmd.Env, withoutEmbargoes+"=1")
		code := exitCode(t, cmd.Run())
		wantEmpty(t, folder)
		wantNoProcess(t, folder)
		if failed := strings.Contains(stdout.String(), want); failed {
			if code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			return
		} else if code != exitOK {
			t.Fatalf("exit code %d for another reason:\n%s", code, stdout)
		}
	}
	t.Errorf("in %d runs without embargoes nothing overtook", runs)
}

// ignoreEmbargoes makes a player deaf to the embargo of each Accept that it reads. Its reports go on telling of it,
// or the director would take the trace for broken.
func ignoreEmbargoes() {
	var mu sync.Mutex
	heard := map[string]string{} // embargo by nonce
	tamper = func(conn transport.Conn) transport.Conn {
		return deaf{conn, func(accept rpc.Accept) error {
			provision, err := accept.Provision()
			if err != nil {
				return err
			}
			nonce, err := transport.ToComplete(provision.Struct()).Nonce()
			if err != nil {
				return err
			}
			embargo, err := accept.Embargo()
			if err != nil {
				return err
			}
			mu.Lock()
			heard[hex.EncodeToString(nonce)] = hex.EncodeToString(embargo)
			mu.Unlock()
			return accept.SetEmbargo(nil)
		}}
	}
	conceal = func(line *trace.Line) {
		if line.Msg == "accept" && line.Embargo == "" {
			mu.Lock()
			line.Embargo = heard[line.Nonce]
			mu.Unlock()
		}
	}
}

// deaf changes each Accept that is read.
type deaf struct {
	transport.Conn
	change func(rpc.Accept) error
}

func (c deaf) ReadFrame() (*capnp.Message, error) {
	msg, err := c.Conn.ReadFrame()
	if err != nil {
		return nil, err
	}
	if m, err := rpc.ReadRootMessage(msg); err == nil && m.Which() == rpc.Message_Which_accept {
		// What was read is read only: the change is made in a copy.
		frame, err := msg.Marshal()
		if err != nil {
			return nil, err
		}
		if msg, err = capnp.Unmarshal(frame); err != nil {
			return nil, err
		}
		if m, err = rpc.ReadRootMessage(msg); err != nil {
			return nil, err
		}
		accept, err := m.Accept()
		if err != nil {
			return nil, err
		}
		return msg, c.change(accept)
	}
	return msg, nil
}
