package soak

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Options say how long, and how hard. Zero fields mean those of a run of a minute.
type Options struct {
	For     time.Duration // with faults; 0: a minute
	Every   time.Duration // between faults; 0: 5 s
	Workers int           // of each process; 0: 8
	Command func(args ...string) *exec.Cmd
	Log     io.Writer // of what is done; nil: nowhere
}

var names = []string{"alice", "bob", "carol"}

// run is one soak.
type run struct {
	Options
	parties map[string]*process
	ways    map[[2]string]*proxy // from, to
	result  Result
}

// Run soaks, and says what came of it. An error means that it could not; what it found is in the result.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.For == 0 {
		o.For = time.Minute
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	r := &run{Options: o, parties: map[string]*process{}, ways: map[[2]string]*proxy{}}
	r.result.init(o)
	folder, err := os.MkdirTemp("", "vatnode-soak-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	defer r.close()
	if err := r.open(folder); err != nil {
		return nil, err
	}
	if err := r.soak(ctx); err != nil {
		return nil, err
	}
	return &r.result, nil
}

// open starts the processes and the ways between them.
func (r *run) open(folder string) error {
	for _, from := range names {
		for _, to := range names {
			if from == to {
				continue
			}
			way, err := newProxy()
			if err != nil {
				return err
			}
			r.ways[[2]string{from, to}] = way
		}
	}
	for _, name := range names {
		p := &process{name: name, folder: filepath.Join(folder, name), command: r.Command}
		if err := os.Mkdir(p.folder, 0o700); err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
		r.parties[name] = p
	}
	for _, name := range names {
		if err := r.introduce(name); err != nil {
			return err
		}
	}
	return nil
}

// introduce tells a process where the others are, and the ways to it where it is.
func (r *run) introduce(name string) error {
	peers := map[string]peer{}
	for _, other := range names {
		if other != name {
			r.ways[[2]string{other, name}].lead(r.parties[name].where.Addr[len("tcp!"):])
			peers[other] = peer{r.parties[other].where.ID, r.ways[[2]string{name, other}].addr()}
		}
	}
	return r.parties[name].ask(order{Peers: peers}, &report{})
}

func (r *run) close() {
	for _, p := range r.parties {
		_ = p.signal(syscall.SIGCONT)
		p.kill()
	}
	for _, w := range r.ways {
		w.close()
	}
}

// soak warms up, takes the first balance, breaks things for as long as was asked, and takes the last.
func (r *run) soak(ctx context.Context) error {
	warm := min(r.For/10, 5*time.Second)
	if err := r.work(); err != nil {
		return err
	}
	pause(ctx, warm)
	if err := r.rest(); err != nil {
		return err
	}
	if err := r.balance(true); err != nil {
		return err
	}
	if err := r.work(); err != nil {
		return err
	}
	for begin := time.Now(); time.Since(begin) < r.For && ctx.Err() == nil; {
		pause(ctx, r.Every)
		if err := r.fault(ctx); err != nil {
			return err
		}
	}
	pause(ctx, r.Every)
	if err := r.rest(); err != nil {
		return err
	}
	return r.balance(false)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (r *run) work() error {
	for _, name := range names {
		if err := r.parties[name].ask(order{Work: r.Workers}, &report{}); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) rest() error {
	for _, name := range names {
		if err := r.parties[name].ask(order{Rest: true}, &report{}); err != nil {
			return err
		}
	}
	return nil
}

// balance takes the accounts of all, once their tables are empty, or have had time for that.
func (r *run) balance(first bool) error {
	for _, name := range names {
		var a *Account
		for range 50 {
			var got report
			if err := r.parties[name].ask(order{Account: true}, &got); err != nil {
				return err
			}
			if a = got.Account; a.Tables.Empty() {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		r.result.note(name, *a, first)
	}
	return nil
}

// fault breaks one thing, and mends it.
func (r *run) fault(ctx context.Context) error {
	who := names[rand.IntN(len(names))]
	other := names[rand.IntN(len(names))]
	for other == who {
		other = names[rand.IntN(len(names))]
	}
	while := time.Duration(500+rand.IntN(4500)) * time.Millisecond
	there, back := r.ways[[2]string{who, other}], r.ways[[2]string{other, who}]
	p := r.parties[who]
	kind, detail := "", who
	switch rand.IntN(5) {
	case 0:
		kind = "killed and started again"
		if err := r.killed(ctx, p, while); err != nil {
			return err
		}
	case 1:
		kind = "stopped for a while"
		if err := p.signal(syscall.SIGSTOP); err != nil {
			return err
		}
		pause(ctx, while)
		if err := p.signal(syscall.SIGCONT); err != nil {
			return err
		}
	case 2:
		kind, detail = "a connection stalled for a while", who+"–"+other
		there.stall()
		back.stall()
		pause(ctx, while)
		there.goOn()
		back.goOn()
	default:
		kind, detail = "a connection cut", who+"–"+other
		there.cut()
		back.cut()
	}
	r.result.Faults[kind]++
	fmt.Fprintf(r.Log, "%s: %s\n", kind, detail)
	return nil
}

// killed ends a process and starts it again. What it has done until then is added up.
func (r *run) killed(ctx context.Context, p *process, while time.Duration) error {
	var got report
	if err := p.ask(order{Account: true}, &got); err != nil {
		return err
	}
	r.result.add(*got.Account)
	r.result.Restarts[p.name]++
	p.kill()
	pause(ctx, while/2)
	if err := p.start(); err != nil {
		return err
	}
	if err := r.introduce(p.name); err != nil {
		return err
	}
	return p.ask(order{Work: r.Workers}, &report{})
}
