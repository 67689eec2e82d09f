package main

import (
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat/trace"
)

// The demo has teeth: where embargoes are ignored, the second bar overtakes the first on the held link, and the demo
// fails and says so.
func TestDemoFailsWithoutEmbargoes(t *testing.T) {
	folder := t.TempDir()
	cmd, stdout, _ := vatnode(t, folder, "demo", "--hold", "300ms")
	cmd.Env = append(cmd.Env, withoutEmbargoes+"=1")
	if code := exitCode(t, cmd.Run()); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	const want = `FAILED: Carol's objects were called in the order ["bar second" "bar first"`
	if !strings.Contains(stdout.String(), want) {
		t.Errorf("printed:\n%s\nwant a line with %s", stdout, want)
	}
	wantEmpty(t, folder)
	wantNoProcess(t, folder)
}

// ignoreEmbargoes makes a player deaf to the embargo of each Accept that it reads. Its reports go on telling of it,
// or the director would take the trace for broken. And what follows a Provide is slow to come, so that the Accept
// that it is paired with is answered before the first bar is there.
func ignoreEmbargoes() {
	var mu sync.Mutex
	heard := map[string]string{} // embargo by nonce
	tamper = func(conn transport.Conn) transport.Conn {
		return &deaf{Conn: conn, change: func(accept rpc.Accept) error {
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
	change  func(rpc.Accept) error
	provide bool // the last frame was one
}

func (c *deaf) ReadFrame() (*capnp.Message, error) {
	if c.provide {
		time.Sleep(100 * time.Millisecond)
	}
	msg, err := c.Conn.ReadFrame()
	if err != nil {
		return nil, err
	}
	m, err := rpc.ReadRootMessage(msg)
	c.provide = err == nil && m.Which() == rpc.Message_Which_provide
	if err == nil && m.Which() == rpc.Message_Which_accept {
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
