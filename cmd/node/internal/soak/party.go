package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// patience is how long a worker waits for an answer: longer than anything stays broken.
const patience = 30 * time.Second

// What a process is told, a line of JSON each, and what it answers.
type (
	order struct {
		Peers   map[string]peer // where the others are
		Work    int             // start so many workers
		Rest    bool            // stop them
		Account bool            // say what became of everything
	}
	peer struct {
		ID   transport.VatID
		Addr string
	}
	report struct {
		Peer    peer
		Account *Account
	}
)

// An Account is what a process did, and what it holds.
type Account struct {
	Calls      uint64 // answered as they should be
	Failed     map[string]uint64
	Violations []string
	Handoffs   vat.Handoffs
	Tables     vat.Tables
	HeapMB     float64
	RSSMB      float64
	Goroutines int
}

// party is one process.
type party struct {
	name     string
	vat      *vat.Vat
	self     capnp.Client // its own bootstrap capability
	promises sync.WaitGroup

	mu      sync.Mutex
	peers   map[string]peer
	account Account
	stop    chan struct{} // closed: workers end
	workers sync.WaitGroup
}

// Play is a process: it serves, and carries out the orders of in until that ends.
func Play(name, folder string, in io.Reader, out io.Writer) error {
	id, err := transport.LoadIdentity(filepath.Join(folder, "key"))
	if err != nil {
		return err
	}
	p := &party{name: name, account: Account{Failed: map[string]uint64{}}}
	quiet := slog.New(grumble{p})
	network, err := transport.ListenTLS("127.0.0.1:0", id, transport.Config{Name: name, Logger: quiet})
	if err != nil {
		return err
	}
	v, err := vat.New(vat.Config{
		Network:     network,
		Directory:   p,
		Serve:       p.serve,
		EarlyReturn: threeparty.EarlyReturns(),
		Limits:      vat.Limits{Dial: 3 * time.Second, Handoff: 5 * time.Second, Kept: 10 * time.Second},
		Logger:      quiet,
	})
	if err != nil {
		return err
	}
	defer v.Close()
	defer p.self.Release()
	tell := json.NewEncoder(out)
	if err := tell.Encode(report{Peer: peer{id.ID(), network.Addrs()[0]}}); err != nil {
		return err
	}
	orders := json.NewDecoder(in)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := tell.Encode(p.obey(o)); err != nil {
			return err
		}
	}
}

func (p *party) obey(o order) report {
	switch {
	case o.Peers != nil:
		p.mu.Lock()
		p.peers = o.Peers
		p.mu.Unlock()
	case o.Work > 0:
		p.stop = make(chan struct{})
		for range o.Work {
			p.workers.Go(func() { p.work(p.stop) })
		}
	case o.Rest:
		if p.stop != nil {
			close(p.stop)
		}
		p.stop = nil
		p.workers.Wait()
		p.promises.Wait()
	case o.Account:
		a := p.balance()
		return report{Account: &a}
	}
	return report{}
}

// Addresses implements vat.Directory.
func (p *party) Addresses(id transport.VatID) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.peers {
		if x.ID == id {
			return []string{x.Addr}
		}
	}
	return nil
}

// any is the name of some vat, this one included; other is one that is not this.
func (p *party) any() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := append(slices.Sorted(maps.Keys(p.peers)), p.name)
	return names[rand.IntN(len(names))]
}

func (p *party) other() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := slices.Sorted(maps.Keys(p.peers))
	return names[rand.IntN(len(names))]
}

// boot is the bootstrap capability of a vat.
func (p *party) boot(ctx context.Context, name string) capnp.Client {
	if name == p.name {
		return p.self.AddRef()
	}
	p.mu.Lock()
	id := p.peers[name].ID
	p.mu.Unlock()
	return p.vat.Bootstrap(ctx, id)
}

func (p *party) violated(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.account.Violations) < 20 {
		p.account.Violations = append(p.account.Violations, p.name+": "+fmt.Sprintf(format, args...))
	}
}

// count notes what came of a call.
func (p *party) count(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.account.Calls++
		return
	}
	p.account.Failed[reason(err)]++
}

// balance is the account, with what is held after a collection of garbage.
func (p *party) balance() Account {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.mu.Lock()
	a := p.account
	a.Failed = maps.Clone(a.Failed)
	p.mu.Unlock()
	a.Handoffs, a.Tables = p.vat.Handoffs(), p.vat.Tables()
	a.HeapMB, a.RSSMB = float64(m.HeapInuse)/(1<<20), rss()
	a.Goroutines = runtime.NumGoroutine()
	return a
}

// grumble is a log that nobody reads, but for what must not be.
type grumble struct{ p *party }

func (grumble) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (g grumble) WithAttrs([]slog.Attr) slog.Handler         { return g }
func (g grumble) WithGroup(string) slog.Handler              { return g }
func (g grumble) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "method panicked" {
		r.Attrs(func(a slog.Attr) bool { r.Message += " " + a.String(); return true })
		g.p.violated("%s", r.Message)
	}
	return nil
}

// rss is what the process takes up in memory, 0 where the system does not tell.
func rss() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident int
	if _, err := fmt.Sscan(strings.TrimSpace(string(statm)), &total, &resident); err != nil {
		return 0
	}
	return float64(resident*os.Getpagesize()) / (1 << 20)
}
