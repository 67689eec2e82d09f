package scenario

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"capnproto.org/go/capnp/v3"

	"github.com/vatwork/vatwork/transport"
	"github.com/vatwork/vatwork/vat"
	"github.com/vatwork/vatwork/vat/scenario/play"
)

// A stage is a run of one script: vats, the wire between them, and what was seen on it. Its methods are called
// by the script's goroutine, in a synctest bubble.
type stage struct {
	t       *testing.T
	memory  *transport.Memory
	wire    *wire
	members []*member
	dice    *dice // nil: exact
	told    narrator
	log     []line
	mark    int      // into log
	pending []string // observed, and not written out
	quiet   bool     // what is seen is not to be written out
	after   []func() // run by close, before the vats end

	mu    sync.Mutex
	dials map[link]string // see dialer
}

// line is a message as a line.
type line struct {
	link link
	text string
	held bool
}

func newStage(t *testing.T, d *dice) *stage {
	return &stage{t: t, memory: transport.NewMemory(), wire: newWire(), dice: d, told: *newNarrator(), dials: map[link]string{}}
}

// dice make a schedule. They may be thrown from any goroutine.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{rng: rand.New(rand.NewPCG(seed, seed))} }

// below is a number in [0, n).
func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// stumble lets others go first, now and then.
func (d *dice) stumble() {
	if d == nil {
		return
	}
	for range d.below(4) {
		runtime.Gosched()
	}
}

// option of a vat, as it is written after its name.
const (
	optionBare      = "bare"      // no bootstrap
	optionLevel1    = "level1"    // none of the features of Vatwork
	optionNoForward = "noforward" // no contacts that were forwarded
	optionForwards  = "forwards"  // Config.ForwardCalls
	optionPromised  = "promised"  // its bootstrap is a promise of its own, called boot
)

// noFeatures is a bit that no vat knows, since zero would mean all that there are.
const noFeatures = transport.Features(1 << 63)

// add starts the vat that spec names: a name, and its options after colons.
func (st *stage) add(spec string) error {
	name, rest, _ := strings.Cut(spec, ":")
	m := newMember(name)
	cfg := transport.Config{Name: name, Wrap: st.wire.wrap}
	serve := func(v *vat.Vat) (capnp.Client, error) {
		m.v = v
		switch rest {
		case optionBare:
			return capnp.Client{}, nil
		case optionPromised:
			return capnp.Client(m.newPromise("boot")), nil
		}
		return m.newObject(name), nil
	}
	switch rest {
	case optionLevel1:
		cfg.Features = noFeatures
	case optionNoForward:
		cfg.Features = transport.AllFeatures &^ transport.FeatureForwardedContacts
	}
	network, err := st.memory.Vat(name, cfg)
	if err != nil {
		return err
	}
	dialing := dialer{network, st, name}
	m.v, err = vat.New(vat.Config{
		Network:      dialing,
		Directory:    dialing,
		Serve:        serve,
		ForwardCalls: rest == optionForwards,
		EarlyReturn:  []vat.EarlyReturn{{Interface: play.Thing_TypeID, Method: 1, Caps: [][]uint16{{0}}}},
		Logger:       slog.New(slog.NewTextHandler(st.t.Output(), nil)),
		Tap:          func(vat.TapEvent) { st.dice.stumble() },
	})
	if err != nil {
		return err
	}
	st.members = append(st.members, m)
	return nil
}

func (st *stage) member(name string) (*member, error) {
	for _, m := range st.members {
		if m.name == name {
			return m, nil
		}
	}
	return nil, fmt.Errorf("no vat is called %s", name)
}

// observe notes what was written on the wire since the last time.
func (st *stage) observe() {
	fresh := st.wire.fresh()
	if st.dice == nil {
		// What one vat wrote to several others at once came in no particular order.
		slices.SortStableFunc(fresh, func(a, b sent) int { return compareLinks(a.link, b.link) })
	}
	for _, s := range fresh {
		l := line{s.link, st.told.line(s), s.held}
		st.log = append(st.log, l)
		if !st.quiet {
			st.pending = append(st.pending, l.String())
		}
	}
}

func (l line) String() string {
	s := fmt.Sprintf("| %-12v %s", l.link, l.text)
	if l.held {
		s += "   (held)"
	}
	return s
}

// settle delivers frames until all is quiet and none is left but on held links.
func (st *stage) settle() {
	if st.dice != nil {
		st.settleAtRandom()
		return
	}
	for {
		synctest.Wait()
		st.observe()
		lanes := st.wire.ready()
		if len(lanes) == 0 {
			return
		}
		counts := make([]int, len(lanes))
		for i, l := range lanes {
			counts[i] = l.waiting()
		}
		for i, l := range lanes {
			for range counts[i] {
				l.step()
				synctest.Wait()
				st.observe()
			}
		}
	}
}

func (st *stage) settleAtRandom() {
	for {
		if st.dice.below(3) == 0 {
			synctest.Wait()
		} else {
			st.dice.stumble()
		}
		st.observe()
		lanes := st.wire.ready()
		if len(lanes) == 0 {
			synctest.Wait()
			if lanes = st.wire.ready(); len(lanes) == 0 {
				st.observe()
				return
			}
		}
		l := lanes[st.dice.below(len(lanes))]
		for range 1 + st.dice.below(3) {
			l.step()
		}
	}
}

// pause comes after each action of local code.
func (st *stage) pause() {
	if st.dice == nil || st.dice.below(2) == 0 {
		synctest.Wait()
	}
	st.observe()
}

// give has the vat to know an object of the vat from, by name. It is not written out.
func (st *stage) give(to, name, from, object string) error {
	m, err := st.member(to)
	if err != nil {
		return err
	}
	host, err := st.member(from)
	if err != nil {
		return err
	}
	st.quiet = true
	defer func() { st.quiet = false }()
	if _, ok := host.get(object); !ok {
		host.set(object, host.newObject(object))
	}
	boot := m.v.Bootstrap(context.Background(), host.v.ID())
	ans, release := play.Thing(boot).Foo(context.Background(), func(c play.Cargo) error { return c.SetText(object) })
	st.settle()
	got, err := ans.Struct()
	if err != nil {
		return err
	}
	m.set(name, capnp.Client(got.Cap()).AddRef())
	release()
	boot.Release()
	if c, ok := host.take(object); ok {
		c.Release()
	}
	st.settle()
	host.mu.Lock()
	delete(host.ran, host.name)
	host.mu.Unlock()
	return nil
}

// end drops all that local code holds and checks that nothing is left anywhere.
func (st *stage) end() {
	for _, m := range st.members {
		m.letGo(st.pause)
	}
	st.settle()
	for _, m := range st.members {
		if tables := m.v.Tables(); !tables.Empty() {
			st.t.Errorf("%s: entries are left: %+v\n%v", m.name, tables, m.v.Tree())
		}
	}
	st.close()
	for _, m := range st.members {
		for _, object := range m.made {
			if n := m.shut[object]; n != 1 {
				st.t.Errorf("object %s of %s was shut down %d times", object, m.name, n)
			}
		}
	}
}

// atEnd has f run when the stage closes, before the vats end.
func (st *stage) atEnd(f func()) { st.after = append(st.after, f) }

// close ends the vats, whatever state they are in.
func (st *stage) close() {
	st.wire.openAll()
	for _, f := range st.after {
		f()
	}
	for _, m := range st.members {
		m.letGo(func() {})
		if err := m.v.Close(); err != nil {
			st.t.Errorf("%s: Close: %v", m.name, err)
		}
	}
	// protoactor-go notes letters to dead actors in a goroutine that lives for a second.
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// cut ends the connection between two vats.
func (st *stage) cut(l link) {
	a, errA := st.member(l.from)
	b, errB := st.member(l.to)
	if errA == nil && errB == nil {
		st.memory.Link(a.v.ID(), b.v.ID()).Cut()
	}
}
