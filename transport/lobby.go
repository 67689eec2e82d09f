package transport

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A lobby holds the accepted connections whose handshake is under way, or is done while nobody has fetched
// them yet: at most max.
//
// A guest enters, and leaves when it is fetched, has failed, or is shown out. It is shown out only when
// the lobby is full, and after patience: peers who connect and stay silent cost a newcomer that wait at
// most, while a burst of honest ones, who are done within milliseconds, only queues up.
type lobby struct {
	max      int
	patience time.Duration
	left     chan struct{} // a guest has left since the last look; capacity 1

	mu     sync.Mutex
	guests []*guest // in order of arrival
}

type guest struct {
	since   time.Time
	showOut context.CancelFunc
}

func newLobby(limits Limits) *lobby {
	return &lobby{max: limits.MaxHandshakes, patience: limits.HandshakeTimeout / 10, left: make(chan struct{}, 1)}
}

// enter waits for a place. It returns nil when ctx is done. Only one goroutine calls it.
func (l *lobby) enter(ctx context.Context, showOut context.CancelFunc) *guest {
	for {
		g, wait := l.tryEnter(showOut)
		if g != nil {
			return g
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.left:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// tryEnter returns the new guest, or how long the oldest one may still stay.
func (l *lobby) tryEnter(showOut context.CancelFunc) (*guest, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.guests) >= l.max {
		oldest := l.guests[0]
		if wait := l.patience - now.Sub(oldest.since); wait > 0 {
			return nil, wait
		}
		l.guests = slices.Delete(l.guests, 0, 1)
		oldest.showOut()
	}
	g := &guest{since: now, showOut: showOut}
	l.guests = append(l.guests, g)
	return g, 0
}

// leave gives g's place back; also if it was shown out.
func (l *lobby) leave(g *guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.guests, g); i >= 0 {
		l.guests = slices.Delete(l.guests, i, i+1)
	}
	select {
	case l.left <- struct{}{}:
	default:
	}
}
