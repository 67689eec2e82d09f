package suite

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vatwork/vatwork/bench/systems"
)

// A Part is what a peer process plays.
type Part struct {
	System    string            `json:"system"`
	Transport systems.Transport `json:"transport"`
	Host      string            `json:"host,omitempty"` // of a broker: where its host is; else ""
}

// serve begins to play p, in this process.
func (p Part) serve() (systems.Server, error) {
	s, err := systems.Named(p.System)
	if err != nil {
		return nil, err
	}
	if p.Host == "" {
		return s.Serve(p.Transport)
	}
	b, ok := s.(systems.Broking)
	if !ok {
		return nil, fmt.Errorf("%s hands no capabilities on", p.System)
	}
	return b.ServeBroker(p.Transport, p.Host)
}

// encode is p as Play reads it.
func (p Part) encode() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // it has strings only
	}
	return string(b)
}

// said is a line that a peer process prints: where it serves, at first, and then a Usage for each line it gets.
type said struct {
	Addr  string `json:"addr,omitempty"`
	Usage Usage  `json:"usage"`
	Error string `json:"error,omitempty"`
}

// Play plays a part, which is JSON, in this process until in ends. It is what a peer process does.
func Play(part string, in io.Reader, out io.Writer) error {
	say := json.NewEncoder(out)
	var p Part
	err := json.Unmarshal([]byte(part), &p)
	var s systems.Server
	if err == nil {
		s, err = p.serve()
	}
	if err != nil {
		return errors.Join(err, say.Encode(said{Error: err.Error()}))
	}
	if err := say.Encode(said{Addr: s.Addr()}); err != nil {
		return errors.Join(err, s.Close())
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		u, err := ownUsage()
		if err == nil {
			err = say.Encode(said{Usage: u})
		}
		if err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}

// A peer plays a part, in a process of its own or in this one. It is a systems.Server.
type peer interface {
	systems.Server
	usage() (Usage, error)
}

// own plays in this process, whose usage is counted where the operations are.
type own struct{ systems.Server }

func (own) usage() (Usage, error) { return Usage{}, nil }

// child is a process of its own.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
	silence time.Duration // for which it may keep us waiting
	addr    string
	mu      sync.Mutex // of asking
}

// closeTime is how long a child has to end before it is killed.
const closeTime = 5 * time.Second

// newChild starts a process that is to Play the part.
func newChild(cmd *exec.Cmd, silence time.Duration) (*child, error) {
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.WaitDelay = closeTime
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, in: in, out: json.NewDecoder(out), silence: silence}
	s, err := c.read()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.addr = s.Addr
	return c, nil
}

// read is what the process says next. It is killed if it says nothing.
func (c *child) read() (s said, err error) {
	var late atomic.Bool
	timer := time.AfterFunc(c.silence, func() {
		late.Store(true)
		_ = c.cmd.Process.Kill()
	})
	err = c.out.Decode(&s)
	timer.Stop()
	switch {
	case err != nil && late.Load():
		err = fmt.Errorf("a peer process said nothing for %v, and was killed", c.silence)
	case err == nil && s.Error != "":
		err = errors.New(s.Error)
	}
	return s, err
}

func (c *child) Addr() string { return c.addr }

func (c *child) usage() (Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := io.WriteString(c.in, "usage\n"); err != nil {
		return Usage{}, err
	}
	s, err := c.read()
	return s.Usage, err
}

// Close has the process end, and waits for that.
func (c *child) Close() error {
	_ = c.in.Close()
	timer := time.AfterFunc(closeTime, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("a peer process: %w", err)
	}
	return nil
}
