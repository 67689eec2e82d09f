package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// endGrace is how long a player has to end when it has been told to, before it is killed.
	endGrace = 2 * time.Second
	// maxComplaints is how much of what a player wrote to standard error is kept.
	maxComplaints = 16 << 10
)

// stage is the players' processes and all that they have on this machine.
type stage struct {
	folder  string
	players map[string]*process
	news    chan news // from all players
	closed  chan struct{}
}

// news is a report of a player's, or that its process has ended.
type news struct {
	from   string
	report report
	ended  bool
}

// process is one player's.
type process struct {
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	stderr complaints
	ended  chan struct{} // closed when the process is gone
	err    error         // how it ended; read after ended
}

// openStage makes the folder for the players' folders. close removes it.
func openStage() (*stage, error) {
	folder, err := os.MkdirTemp("", "vatnode-demo-")
	if err != nil {
		return nil, err
	}
	return &stage{
		folder:  folder,
		players: make(map[string]*process),
		news:    make(chan news, maxReports),
		closed:  make(chan struct{}),
	}, nil
}

// start starts this program once more, as a player, and makes its folder.
func (s *stage) start(name string) error {
	if err := os.Mkdir(s.folderOf(name), 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &process{name: name, cmd: exec.Command(self, "play"), ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	p.in, err = p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.orders = json.NewEncoder(p.in)
	s.players[name] = p
	go s.listen(p, out)
	return nil
}

func (s *stage) folderOf(name string) string { return filepath.Join(s.folder, name) }

// listen passes a player's reports on until it has ended.
func (s *stage) listen(p *process, out io.Reader) {
	lines := json.NewDecoder(out)
	for {
		var r report
		if err := lines.Decode(&r); err != nil {
			break
		}
		if !s.tell(news{from: p.name, report: r}) {
			break
		}
	}
	_, _ = io.Copy(io.Discard, out) // it must not hang on what nobody reads
	p.err = p.cmd.Wait()
	close(p.ended)
	s.tell(news{from: p.name, ended: true})
}

// tell reports whether anyone still wants to hear.
func (s *stage) tell(n news) bool {
	select {
	case s.news <- n:
		return true
	case <-s.closed:
		return false
	}
}

// complaint says how a player ended.
func (p *process) complaint() error {
	if p.err != nil {
		return fmt.Errorf("%s's process ended: %w", p.name, p.err)
	}
	return fmt.Errorf("%s's process ended", p.name)
}

// lastWords is what the players wrote to standard error.
func (s *stage) lastWords() string {
	var b strings.Builder
	for _, name := range playerNames {
		if p, ok := s.players[name]; ok && p.stderr.String() != "" {
			fmt.Fprintf(&b, "%s wrote:\n%s", name, p.stderr.String())
		}
	}
	return b.String()
}

// close ends the players that have not ended yet, and removes what they leave. A player ends when its
// standard input does; one that does not is killed.
func (s *stage) close() error {
	close(s.closed)
	var all sync.WaitGroup
	for _, p := range s.players {
		all.Go(p.close)
	}
	all.Wait()
	return os.RemoveAll(s.folder)
}

func (p *process) close() {
	_ = p.in.Close() // fails where the process has ended
	late := time.NewTimer(endGrace)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// leave waits for players who were told to leave.
func (s *stage) leave() error {
	late := time.NewTimer(endGrace)
	defer late.Stop()
	for _, p := range s.players {
		select {
		case <-p.ended:
			if p.err != nil {
				return p.complaint()
			}
		case <-late.C:
			return errors.New(p.name + "'s process did not end when it was told to")
		}
	}
	return nil
}

// complaints keeps the first and the last of what is written to it: a panic says what it is about first, and a
// log says last what went wrong.
type complaints struct {
	mu          sync.Mutex
	first, last []byte
	left        bool // something between them was left out
}

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(b), maxComplaints/2-len(c.first))
	c.first = append(c.first, b[:n]...)
	c.last = append(c.last, b[n:]...)
	if over := len(c.last) - maxComplaints/2; over > 0 {
		c.last = append(c.last[:0], c.last[over:]...)
		c.left = true
	}
	return len(b), nil
}

func (c *complaints) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return string(c.first) + "\n[...]\n" + string(c.last)
	}
	return string(c.first) + string(c.last)
}
