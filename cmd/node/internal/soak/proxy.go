package soak

import (
	"net"
	"sync"
)

// A proxy is one way in which a vat may connect to another, which can be cut and can stall.
type proxy struct {
	listener net.Listener

	mu     sync.Mutex
	target string // "": nobody is there
	conns  map[net.Conn]bool
	moving [2]chan struct{} // by direction; closed while bytes pass
}

// The directions of a proxy.
const (
	onward = iota // from who dials
	back
)

func newProxy() (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, conns: map[net.Conn]bool{}}
	for i := range p.moving {
		p.moving[i] = make(chan struct{})
		close(p.moving[i])
	}
	go p.serve()
	return p, nil
}

func (p *proxy) addr() string { return "tcp!" + p.listener.Addr().String() }

// lead has new connections go to target.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *proxy) serve() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		to, err := net.Dial("tcp", target)
		if err != nil {
			from.Close()
			continue
		}
		p.mu.Lock()
		p.conns[from], p.conns[to] = true, true
		p.mu.Unlock()
		go p.copy(from, to, onward)
		go p.copy(to, from, back)
	}
}

func (p *proxy) copy(from, to net.Conn, direction int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		moving := p.moving[direction]
		p.mu.Unlock()
		<-moving
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	for _, c := range []net.Conn{from, to} {
		c.Close()
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}
}

// stall lets nothing pass, until goOn.
func (p *proxy) stall() {
	p.hold(onward, true)
	p.hold(back, true)
}

func (p *proxy) goOn() {
	p.hold(onward, false)
	p.hold(back, false)
}

// hold lets nothing pass in one direction, or does again.
func (p *proxy) hold(direction int, hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := true
	select {
	case <-p.moving[direction]:
		held = false
	default:
	}
	switch {
	case hold && !held:
		p.moving[direction] = make(chan struct{})
	case !hold && held:
		close(p.moving[direction])
	}
}

// cut breaks the connections there are; new ones can be made.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		c.Close()
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.goOn()
	p.cut()
}
