package soak

import (
	"encoding/json"
	"errors"
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
	reports      chan report // closed when it has ended
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
	p.in, p.orders, p.reports = in, json.NewEncoder(in), make(chan report)
	go func(reports chan<- report) {
		defer close(reports)
		for lines := json.NewDecoder(out); ; {
			var r report
			if lines.Decode(&r) != nil {
				return
			}
			reports <- r
		}
	}(p.reports)
	r, err := p.answer()
	p.where = r.Peer
	return err
}

func (p *process) ask(o order) (report, error) {
	if err := p.orders.Encode(o); err != nil {
		return report{}, fmt.Errorf("%s: %w", p.name, err)
	}
	return p.answer()
}

func (p *process) answer() (report, error) {
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	select {
	case r, ok := <-p.reports:
		switch {
		case !ok:
			return r, fmt.Errorf("%s has ended: %v", p.name, p.cmd.Wait())
		case r.Err != "":
			return r, fmt.Errorf("%s: %s", p.name, r.Err)
		}
		return r, nil
	case <-late.C:
		return report{}, fmt.Errorf("%s does not answer", p.name)
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

// leave has it end by itself.
func (p *process) leave() error {
	p.in.Close()
	for range p.reports {
	}
	if err := p.cmd.Wait(); err != nil {
		return errors.Join(fmt.Errorf("%s has not ended well", p.name), err)
	}
	return nil
}
