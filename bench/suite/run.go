package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vatwork/vatwork/bench/systems"
)

// Config says how to measure.
type Config struct {
	// Rounds that each subject is measured in; 0 means 5.
	Rounds int
	// For is how long each is measured in a round; 0 means what fits a bench into less than two minutes.
	For time.Duration
	// Only, if not nil, leaves out each subject whose What, a space and System do not match it. What is weighed stays.
	Only *regexp.Regexp
	// Command starts a process that calls Play with that part and its standard input and output. Required.
	Command func(part string) *exec.Cmd
	// Silence is how long such a process may take to say where it serves, or what it has used, before it is killed
	// and the run fails; 0 means 30 seconds.
	Silence time.Duration
	// Many is how many exports the bench scale goes up to, and a hundred times the sessions, and two thousand times
	// the vats; 0 means 100,000.
	Many int
	// Progress is told what is going on; nil: nobody.
	Progress io.Writer
}

// A bench sets its subjects up.
type bench struct {
	name, what string
	seconds    float64 // by default, of measuring
	setUp      func(context.Context, *stage) error
}

// benches are in the order of reports.
var benches = []bench{
	{"calls", "a call with 16 bytes each way", 70, setUpCalls},
	{"data", "calls with 64 KiB and 1 MiB each way, and a stream of 64 KiB pieces", 50, setUpData},
	{"handoff", "a capability of a third vat arrives, is called once, and let go", 50, setUpHandoff},
	{"scenario", "a promise, pipelined calls, a handoff under embargo, and all let go", 15, setUpScenario},
	{"shortened", "a call through the introducer, one after the handoff, and a direct one", 40, setUpShortened},
	{"forward", "a call that the one called leaves to a third vat", 25, setUpForward},
	{"local", "a call on an object of the same vat", 12, setUpLocal},
	{"scale", "what it costs to have many", 30, setUpScale},
}

// Names of the benches, in order.
func Names() []string {
	var names []string
	for _, b := range benches {
		names = append(names, b.name)
	}
	return names
}

// What a bench measures, in a line.
func What(name string) string {
	for _, b := range benches {
		if b.name == name {
			return b.what
		}
	}
	return ""
}

// Run runs the bench of that name and returns its rows.
func Run(ctx context.Context, name string, cfg Config) (rows []Row, err error) {
	i := slices.IndexFunc(benches, func(b bench) bool { return b.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no bench is called %q; there are %s", name, strings.Join(Names(), ", "))
	}
	if cfg.Rounds == 0 {
		cfg.Rounds = 5
	}
	if cfg.Many == 0 {
		cfg.Many = 100_000
	}
	if cfg.Silence == 0 {
		cfg.Silence = 30 * time.Second
	}
	if cfg.Rounds < 0 || cfg.For < 0 || cfg.Many < 0 || cfg.Silence < 0 {
		return nil, errors.New("rounds, the time for each, how many there are, and the silence allowed, must be above zero")
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	s := &stage{cfg: cfg, bench: benches[i].name}
	defer func() { err = errors.Join(err, s.close()) }()
	fmt.Fprintf(cfg.Progress, "%s: setting up\n", name)
	if err := benches[i].setUp(ctx, s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if cfg.For == 0 {
		all := 1.2 * float64(max(len(s.subjects), 1)*cfg.Rounds) // with the warm-up
		s.cfg.For = time.Duration(benches[i].seconds / all * float64(time.Second))
	}
	if err := s.measure(ctx); err != nil {
		return nil, err
	}
	return s.rows(), nil
}

// A stage is what a bench sets up: peers, and subjects that are ready to be measured.
type stage struct {
	cfg      Config
	bench    string
	subjects []*subject
	measured []Row // what was found otherwise than by measuring subjects
	ends     []func() error
}

// atEnd has f called when the bench is over; the last one first.
func (s *stage) atEnd(f func() error) { s.ends = append(s.ends, f) }

func (s *stage) close() error {
	var errs []error
	for _, f := range slices.Backward(s.ends) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// peer starts to play a part, in a process of its own or in this one.
func (s *stage) peer(p Part, processes int) (peer, error) {
	var started peer
	if processes == 1 {
		server, err := p.serve()
		if err != nil {
			return nil, err
		}
		started = own{server}
	} else {
		c, err := newChild(s.cfg.Command(p.encode()), s.cfg.Silence)
		if err != nil {
			return nil, err
		}
		started = c
	}
	s.atEnd(started.Close)
	return started, nil
}

// usageOf is the usage of this process and of peers.
func usageOf(peers ...peer) func() (Usage, error) {
	return func() (Usage, error) {
		sum, err := ownUsage()
		for _, p := range peers {
			u, e := p.usage()
			sum, err = sum.plus(u), errors.Join(err, e)
		}
		return sum, err
	}
}

// caller is a caller of what a peer serves, which is ended with the bench.
func (s *stage) caller(ctx context.Context, p Part, at peer) (systems.Caller, error) {
	system, err := systems.Named(p.System)
	if err != nil {
		return nil, err
	}
	c, err := system.Dial(ctx, p.Transport, at.Addr())
	if err != nil {
		return nil, err
	}
	s.atEnd(c.Close)
	return c, nil
}

// add adds a subject of this bench, if it is one of those that are wanted.
func (s *stage) add(x subject) {
	x.row.Bench = s.bench
	if only := s.cfg.Only; only == nil || only.MatchString(x.row.What()+" "+x.row.System) {
		s.subjects = append(s.subjects, &x)
	}
}

// measure runs the rounds.
func (s *stage) measure(ctx context.Context) error {
	for n := range s.cfg.Rounds {
		fmt.Fprintf(s.cfg.Progress, "%s: round %d of %d, %d subjects\n", s.bench, n+1, s.cfg.Rounds, len(s.subjects))
		for i := range s.subjects {
			x := s.subjects[(i+n)%len(s.subjects)] // nobody is always first
			if x.err == nil {
				x.err = x.measure(ctx, s.cfg.For)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (s *stage) rows() []Row {
	rows := s.measured
	for _, x := range s.subjects {
		if x.err != nil {
			x.row.Error = x.err.Error()
			rows = append(rows, x.row)
			continue
		}
		rows = append(rows, summed(x.row, x.rounds))
	}
	compare(rows)
	return rows
}
