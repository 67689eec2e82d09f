package soak

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/server"
	rpc "capnproto.org/go/capnp/v3/std/capnp/rpc"

	"github.com/vatwork/vatwork/examples/threeparty"
	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
)

// scene is alice, bob or carol in a process of its own, who does one step after the other as it is told.
type scene struct {
	party // its directory and its log

	mu     sync.Mutex
	seen   map[string]int // messages, as "in accept"
	change sync.Cond
	fates  map[string]fate
	ran    []string
	cancel map[string]context.CancelFunc
	held   []func() // what is to be released, in order

	capBla   threeparty.CapBla // of bob: what he imports; of alice: what foo has promised, or what bob hosts
	capBar   threeparty.CapBar
	resolver capnp.Resolver[threeparty.CapBla]
	forwards forwards      // of bob
	gate     chan struct{} // of carol: closed when what waits is to go on
}

// A step is what a scene is told to do, a fate what came of a call.
type (
	step struct {
		Do    string
		Name  string
		N     int
		Peers map[string]peer
	}
	fate struct {
		Text string
		At   time.Time
	}
	said struct {
		Outcome *outcome
		Err     string
	}
	outcome struct {
		Fates  map[string]fate
		Ran    []string
		Tables vat.Tables
	}
)

var sceneLimits = vat.Limits{Dial: time.Second, Handoff: 2 * time.Second, Awaited: 3 * time.Second}

// playScene is the process.
func playScene(name, folder string, in io.Reader, out io.Writer) error {
	s := &scene{seen: map[string]int{}, fates: map[string]fate{}, cancel: map[string]context.CancelFunc{}, gate: make(chan struct{})}
	s.name = name
	s.change.L = &s.mu
	id, err := transport.LoadIdentity(filepath.Join(folder, "key"))
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	network, err := transport.ListenTLS("127.0.0.1:0", id, transport.Config{Name: name, Logger: quiet})
	if err != nil {
		return err
	}
	s.vat, err = vat.New(vat.Config{Network: network, Directory: &s.party, Serve: s.serve, EarlyReturn: threeparty.EarlyReturns(),
		Limits: sceneLimits, Logger: quiet, Tap: s.tap})
	if err != nil {
		return err
	}
	tell := json.NewEncoder(out)
	if err := tell.Encode(report{Peer: peer{id.ID(), network.Addrs()[0]}}); err != nil {
		return err
	}
	for orders := json.NewDecoder(in); ; {
		var o step
		if err := orders.Decode(&o); err != nil {
			return nil
		}
		var r said
		if r.Outcome, err = s.step(o); err != nil {
			r.Err = fmt.Sprintf("%s: %v", o.Do, err)
		}
		if err := tell.Encode(r); err != nil {
			return err
		}
	}
}

func (s *scene) tap(e vat.TapEvent) {
	way := "in "
	if e.Out {
		way = "out "
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[way+e.Message.Which().String()]++
	if e.Message.Which() == rpc.Message_Which_return {
		if r, err := e.Message.Return(); err == nil {
			s.seen[way+"return "+r.Which().String()]++
		}
	}
	s.change.Broadcast()
}

func (s *scene) serve(v *vat.Vat) (capnp.Client, error) {
	bla, err := vat.Spawn[threeparty.CapBla](v, threeparty.CapBla_Methods, func() threeparty.CapBla_Server { return sceneBla{s} })
	h := &sceneHost{s, bla}
	return capnp.NewClient(server.New(threeparty.CarolAPI_Methods(threeparty.BobAPI_Methods(nil, h), h), h, h)), err
}

type sceneHost struct {
	s   *scene
	bla threeparty.CapBla
}

func (h *sceneHost) Shutdown() { h.bla.Release() }

func (h *sceneHost) CapBla(_ context.Context, call threeparty.CarolAPI_capBla) error {
	results, err := call.AllocResults()
	if err == nil {
		err = results.SetCapBla(h.bla.AddRef())
	}
	return err
}

// Foo returns what bob has, or, where he is to resolve it later, a promise.
func (h *sceneHost) Foo(_ context.Context, call threeparty.BobAPI_foo) error {
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	if h.s.resolver == nil {
		return results.SetCapBla(h.s.capBla.AddRef())
	}
	c, r := vat.NewPromise[threeparty.CapBla](h.s.vat)
	h.s.resolver = r
	return results.SetCapBla(c)
}

type sceneBla struct{ s *scene }

func (b sceneBla) Bar(ctx context.Context, call threeparty.CapBla_bar) error {
	arg, err := call.Args().BarArg()
	if err != nil {
		return err
	}
	if forwarded, err := b.s.forwards.bar(ctx, call, arg); forwarded {
		return err
	}
	if arg == panicArg {
		panic("it was told to")
	}
	b.s.note("bar " + arg)
	if arg == waitArg {
		select {
		case <-b.s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCapBar(threeparty.CapBar_ServerToClient(sceneBar{b.s, arg}))
}

type sceneBar struct {
	s   *scene
	arg string
}

func (b sceneBar) Creek(_ context.Context, call threeparty.CapBar_creek) error {
	arg, err := call.Args().CreekArg()
	if err != nil {
		return err
	}
	b.s.note("creek " + arg)
	results, err := call.AllocResults()
	if err != nil {
		return err
	}
	return results.SetCreekResult(answer(arg, b.arg))
}

func (s *scene) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ran = append(s.ran, what)
}

// noResolver stands for a promise that foo is to make.
type noResolver struct{}

func (noResolver) Fulfill(threeparty.CapBla) {}
func (noResolver) Reject(error)              {}

func (s *scene) step(o step) (*outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch o.Do {
	case "": // where the others are
		s.party.mu.Lock()
		s.peers = o.Peers
		s.party.mu.Unlock()
	case "connect":
		c := s.vat.Bootstrap(ctx, s.peers[o.Name].ID)
		s.held = append(s.held, c.Release)
		return nil, c.Resolve(ctx)
	case "fetch":
		bla, err := s.fetch(ctx, o.Name)
		s.capBla = bla
		return nil, err
	case "forward":
		s.forwards.start(s.capBla.AddRef())
	case "open":
		close(s.gate)
	case "promise":
		s.resolver = noResolver{}
	case "resolve":
		s.resolver.Fulfill(s.capBla.AddRef())
	case "panic":
		_, release := s.capBla.Bar(ctx, func(a threeparty.CapBla_bar_Params) error { return a.SetBarArg(panicArg) })
		s.held = append(s.held, release)
	case "ask":
		return nil, s.ask(ctx, o.Name == "fresh")
	case "tail", "creek", "bar":
		s.call(o.Do, o.Name)
	case "cancel":
		for _, cancel := range s.cancel {
			cancel()
		}
	case "await":
		return nil, s.await(o.Name, o.N)
	case "release":
		s.forwards.drop()
		for _, release := range s.held {
			release()
		}
		s.capBla.Release()
		s.capBar.Release()
		s.held, s.capBla, s.capBar = nil, threeparty.CapBla{}, threeparty.CapBar{}
	case "outcome":
		tables := s.vat.Tables() // not with the lock: a turn may want it, in tap
		s.mu.Lock()
		defer s.mu.Unlock()
		return &outcome{maps.Clone(s.fates), slices.Clone(s.ran), tables}, nil
	default:
		return nil, errors.New("no such step")
	}
	return nil, nil
}

// ask calls foo, and on what it promises bar. Both return at once.
func (s *scene) ask(ctx context.Context, fresh bool) error {
	boot := threeparty.BobAPI(s.vat.Bootstrap(ctx, s.peers["bob"].ID))
	foo, release := boot.Foo(ctx, nil)
	s.held = append(s.held, release, boot.Release)
	s.capBla = foo.CapBla().AddRef()
	if _, err := foo.Struct(); err != nil || fresh {
		return err
	}
	bar, release := s.capBla.Bar(context.Background(), func(a threeparty.CapBla_bar_Params) error { return a.SetBarArg("first") })
	s.held = append(s.held, release)
	s.capBar = bar.CapBar().AddRef()
	_, err := bar.Struct()
	return err
}

// call makes one of alice's calls and notes its fate: tail, a bar on whose result creek is called; creek; bar, whose
// result may come as a promise, so that what came of it shows in a call on that.
func (s *scene) call(what, name string) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel[name] = cancel
	var wait func() error
	if what == "creek" {
		wait = s.creek(ctx, s.capBar, name)
	} else {
		ans, release := s.capBla.Bar(ctx, func(a threeparty.CapBla_bar_Params) error { return a.SetBarArg(name) })
		wait = func() error { _, err := ans.Struct(); return err }
		bar := ans.CapBar().AddRef()
		if what == "tail" {
			s.capBar = bar
		} else {
			mine, on := wait, s.creek(ctx, bar, name)
			wait = func() error { return cmp.Or(mine(), on()) }
			s.held = append(s.held, bar.Release)
		}
		s.held = append(s.held, release)
	}
	go func() {
		f := fate{Text: "returned"}
		if err := wait(); err != nil {
			f.Text = "“" + last(err) + "”"
		}
		f.At = time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fates[name] = f
	}()
}

// creek calls creek on bar, and returns what waits for that.
func (s *scene) creek(ctx context.Context, bar threeparty.CapBar, arg string) func() error {
	ans, release := bar.Creek(ctx, func(a threeparty.CapBar_creek_Params) error { return a.SetCreekArg(arg) })
	s.held = append(s.held, release)
	return func() error { _, err := ans.Struct(); return err }
}

// last is the text of the innermost error.
func last(err error) string {
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		err = cause
	}
	return err.Error()
}

// await waits until a message was seen so often.
func (s *scene) await(what string, n int) error {
	late := time.AfterFunc(5*time.Second, s.change.Broadcast)
	defer late.Stop()
	until := time.Now().Add(5 * time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.seen[what] < n {
		if !time.Now().Before(until) {
			return fmt.Errorf("%s saw %v, and waits for %d × %s", s.name, s.seen, n, what)
		}
		s.change.Wait()
	}
	return nil
}

// sceneMain is the process of a test.
func sceneMain() error { return playScene(os.Args[1], os.Args[2], os.Stdin, os.Stdout) }
