package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"capnproto.org/go/capnp/v3/schemas"
	"github.com/spf13/cobra"

	"github.com/vatwork/vatwork/cluster"
	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/trace"
)

// newPlayCommand is what the demo starts its processes with. It is of no use to people.
func newPlayCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "play",
		Short:  "Be one of the demo's processes, on orders from standard input",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			// A ctrl-C reaches the whole process group. The director takes it, and has us end in good order. And a
			// report to a director that is gone must not kill us before we have cleaned up.
			signal.Ignore(os.Interrupt, syscall.SIGHUP, syscall.SIGPIPE)
			if err := play(os.Stdin, os.Stdout, os.Exit); err != nil {
				return &failure{err}
			}
			return nil
		},
	}
}

// player is one process of the demo.
//
// States: nobody (only doSetUp); set up, with a vat, a place in the cluster, and a part; left.
type player struct {
	reports *reporter
	decoder *trace.Decoder
	life    context.Context // of the calls of its part
	end     context.CancelFunc

	setup  setup
	vat    *vat.Vat
	member *cluster.Node
	part   part

	mu      sync.Mutex
	vats    map[string]transport.VatID
	names   map[transport.VatID]string // the inverse
	waiting map[string][]chan struct{} // calls of own objects that wait for a doLet
}

// play carries out the orders from in until one says to leave. When in ends before that the director is gone,
// and exit is called at once, whatever else is going on.
func play(in io.Reader, out io.Writer, exit func(code int)) error {
	registry := new(schemas.Registry)
	threeparty.RegisterSchema(registry)
	p := &player{
		reports: newReporter(out),
		waiting: make(map[string][]chan struct{}),
	}
	p.decoder = trace.NewDecoder(p.nameOf, registry)
	p.life, p.end = context.WithCancel(context.Background())
	defer p.end()

	orders := make(chan order)
	go p.listen(in, orders, exit)
	var busy sync.WaitGroup // as many as the director has given at the same time: two or three
	for o := range orders {
		switch o.Do {
		case doSetUp, doMeet: // all later orders depend on them
			p.carryOut(o)
		case doLeave:
			p.end()
			busy.Wait()
			p.carryOut(o)
			p.reports.close()
			return nil
		default:
			busy.Go(func() { p.carryOut(o) })
		}
	}
	return errors.New("the director is gone")
}

// listen reads orders until one says to leave.
func (p *player) listen(in io.Reader, orders chan<- order, exit func(int)) {
	lines := json.NewDecoder(in)
	for {
		var o order
		if err := lines.Decode(&o); err != nil {
			p.removeFolder()
			exit(exitFailed)
			close(orders)
			return
		}
		if o.Do == doSetUp && o.Setup != nil {
			p.mu.Lock()
			p.setup = *o.Setup
			p.mu.Unlock()
		}
		orders <- o
		if o.Do == doLeave {
			return
		}
	}
}

// removeFolder removes the player's own folder, and the one that holds it when it was the last. What is not
// there any more has been removed by the director.
func (p *player) removeFolder() {
	p.mu.Lock()
	folder := p.setup.Folder
	p.mu.Unlock()
	if folder == "" {
		return
	}
	_ = os.RemoveAll(folder)
	_ = os.Remove(filepath.Dir(folder)) // fails while it is not empty, as it should
}

func (p *player) carryOut(o order) {
	d := done{Number: o.Number}
	var err error
	switch o.Do {
	case doSetUp:
		d.Identity, err = p.setUp(*o.Setup)
	case doMeet:
		err = p.meet(o.Vats)
	case doAct:
		d.Result, err = p.part.act(o.Step)
	case doLet:
		err = p.let(o.What)
	case doTables:
		tables := p.vat.Tables()
		d.Tables = &tables
	case doLeave:
		err = p.leave()
	default:
		err = fmt.Errorf("unknown order %q", o.Do)
	}
	if err != nil {
		d.Error = err.Error()
	}
	p.reports.say(report{Done: &d})
}

// setUp makes the player somebody: a key, a listener, a member of the cluster and a vat.
func (p *player) setUp(s setup) (*identity, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	key, err := transport.LoadIdentity(filepath.Join(s.Folder, "key.pem"))
	if err != nil {
		return nil, err
	}
	p.part = newPart(p, s)
	network, err := transport.ListenTLS("127.0.0.1:0", key, transport.Config{Name: s.Name, Wrap: p.wrap, Logger: log})
	if err != nil {
		return nil, err
	}
	made := make(chan struct{}) // the vat, or it never will be
	defer close(made)
	p.member, err = cluster.Start(p.life, cluster.Config{
		ID: key.ID(), Name: s.Name, Addresses: network.Addrs(), Join: s.Join, Sign: key.Sign, Logger: log,
		OnFailed: func(id transport.VatID, reason string) {
			if <-made; p.vat != nil {
				p.vat.Suspect(id, reason)
			}
		},
	})
	if err != nil {
		return nil, errors.Join(err, network.Close())
	}
	p.vat, err = vat.New(vat.Config{
		Network: network, Directory: p.member, Bootstrap: p.part.bootstrap(), Logger: log, Tap: p.tap,
		EarlyReturn: threeparty.EarlyReturns(),
	})
	if err != nil {
		return nil, errors.Join(err, p.member.Close(), network.Close())
	}
	return &identity{Vat: key.ID(), Gossip: p.member.GossipAddr()}, nil
}

// meet learns who the others are, and waits until the directory knows where.
func (p *player) meet(vats map[string]transport.VatID) error {
	names := make(map[transport.VatID]string)
	var ids []transport.VatID
	for name, id := range vats {
		names[id] = name
		ids = append(ids, id)
	}
	p.mu.Lock()
	p.vats, p.names = vats, names
	p.mu.Unlock()
	return p.member.WaitFor(p.life, ids...)
}

func (p *player) nameOf(id transport.VatID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name, ok := p.names[id]; ok {
		return name
	}
	return id.Short()
}

func (p *player) vatOf(name string) transport.VatID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vats[name]
}

// wrap leads a new connection through what the part has in its way.
func (p *player) wrap(conn transport.Conn) transport.Conn {
	return p.part.wrap(p.nameOf(conn.Peer().ID), tamper(conn))
}

// tamper and conceal are for a test, which has the players break a rule of order, to see that the demo notices.
var (
	tamper  = func(conn transport.Conn) transport.Conn { return conn }
	conceal = func(*trace.Line) {}
)

// tap reports each message. One that could not be read in full is reported as far as it could.
func (p *player) tap(tapped vat.TapEvent) {
	event, err := p.decoder.Event(p.setup.Name, tapped)
	if err != nil {
		event.Line.Error = err.Error()
	}
	conceal(&event.Line)
	p.reports.say(report{Event: &event})
}

// called reports a call of one of the player's objects, and waits until the director lets it go on.
func (p *player) called(ctx context.Context, what string) {
	goOn := make(chan struct{})
	p.mu.Lock()
	p.waiting[what] = append(p.waiting[what], goOn)
	p.mu.Unlock()
	p.reports.say(report{Called: what})
	select {
	case <-goOn:
	case <-ctx.Done():
	case <-p.life.Done():
	}
}

func (p *player) let(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.waiting[what]
	if len(calls) == 0 {
		return fmt.Errorf("no call %q is waiting", what)
	}
	close(calls[0])
	p.waiting[what] = calls[1:]
	return nil
}

func (p *player) leave() error {
	err := p.vat.Close()
	err = errors.Join(err, p.member.Close())
	p.removeFolder()
	return err
}
