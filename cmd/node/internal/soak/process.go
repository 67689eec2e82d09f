package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// answerWithin is how long a process may take for an order: a worker may wait for its patience before it rests.
const answerWithin = 2 * patience

// process is a party, as whoever started it sees it.
type process struct {
	name, folder string
	command      func(args ...string) *exec.Cmd
	cmd          *exec.Cmd
	in           io.WriteCloser
	orders       *json.Encoder
	reports      chan json.RawMessage // closed when it has ended
	where        peer
}

// start starts it, with the key that it had before.
func (p *process) start() error {
	p.cmd = p.command(p.name, p.folder)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
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
	p.in, p.orders, p.reports = in, json.NewEncoder(in), make(chan json.RawMessage)
	go func(reports chan<- json.RawMessage) {
		defer close(reports)
		for lines := json.NewDecoder(out); ; {
			var r json.RawMessage
			if lines.Decode(&r) != nil {
				return
			}
			reports <- r
		}
	}(p.reports)
	var r report
	err = p.answer(&r)
	p.where = r.Peer
	return err
}

// ask has it carry out an order and reads what it says to that.
func (p *process) ask(o, answer any) error {
	if err := p.orders.Encode(o); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return p.answer(answer)
}

func (p *process) answer(into any) error {
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	select {
	case r, ok := <-p.reports:
		if !ok {
			return fmt.Errorf("%s has ended: %v", p.name, p.cmd.Wait())
		}
		return json.Unmarshal(r, into)
	case <-late.C:
		return fmt.Errorf("%s does not answer", p.name)
	}
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill ends it without a word, as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.reports { // until its output ends
	}
	_ = p.cmd.Wait()
}
