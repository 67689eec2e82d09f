package suite

import (
	"bufio"
	"context"
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
	Host      string            `json:"host,omitempty"`  // of a broker: where its host is; of a crowd: whom it visits; else ""
	Crowd     int               `json:"crowd,omitempty"` // of a crowd: how many it is; else 0
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
	if p.Crowd > 0 {
		return p.crowd(s)
	}
	b, ok := s.(systems.Broking)
	if !ok {
		return nil, fmt.Errorf("%s hands no capabilities on", p.System)
	}
	return b.ServeBroker(p.Transport, p.Host)
}

// crowd has the crowd there. It serves nothing.
func (p Part) crowd(s systems.System) (systems.Server, error) {
	c, ok := s.(systems.Crowding)
	if !ok {
		return nil, fmt.Errorf("%s makes no crowds", p.System)
	}
	ctx, cancel := context.WithTimeout(context.Background(), crowdTime)
	defer cancel()
	there, err := c.Crowd(ctx, p.Transport, p.Host, p.Crowd)
	if err != nil {
		return nil, err
	}
	return nowhere{there}, nil
}

// crowdTime is how long a crowd may take to arrive.
const crowdTime = 20 * time.Second

// nowhere serves nothing.
type nowhere struct{ io.Closer }

func (nowhere) Addr() string { return "nowhere" }

// encode is p as Play reads it.
func (p Part) encode() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // it has strings only
	}
	return string(b)
}

// said is a line that a peer process prints: where it serves, at first, and then what each line that it gets asks for.
type said struct {
	Addr   string `json:"addr,omitempty"`
	Usage  Usage  `json:"usage"`
	Weight uint64 `json:"weight"`
	Error  string `json:"error,omitempty"`
}

// What may be asked.
const (
	askUsage  = "usage"
	askWeight = "weight"
)

func reply(asked string) (s said, err error) {
	if asked == askWeight {
		return said{Weight: weight()}, nil
	}
	s.Usage, err = ownUsage()
	return s, err
}

// Play plays a part, which is JSON, in this process until in ends. It is what a peer process does.
func Play(part string, in io.Reader, out io.Writer) error {
	say := json.NewEncoder(out)
	var p Part
	err := json.Unmarshal([]byte(part), &p)
	var server systems.Server
	if err == nil {
		server, err = p.serve()
	}
	if err != nil {
		return errors.Join(err, say.Encode(said{Error: err.Error()}))
	}
	if err := say.Encode(said{Addr: server.Addr()}); err != nil {
		return errors.Join(err, server.Close())
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		s, err := reply(lines.Text())
		if err == nil {
			err = say.Encode(s)
		}
		if err != nil {
			return errors.Join(err, server.Close())
		}
	}
	return server.Close()
}

// A peer plays a part, in a process of its own or in this one. It is a systems.Server.
type peer interface {
	systems.Server
	usage() (Usage, error)
	weight() (uint64, error) // see the function
}

// own plays in this process, whose usage and weight are counted where the operations are.
type own struct{ systems.Server }

func (own) usage() (Usage, error)   { return Usage{}, nil }
func (own) weight() (uint64, error) { return 0, nil }

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
	s, err := c.ask(askUsage)
	return s.Usage, err
}

func (c *child) weight() (uint64, error) {
	s, err := c.ask(askWeight)
	return s.Weight, err
}

func (c *child) ask(what string) (said, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		return said{}, err
	}
	return c.read()
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
