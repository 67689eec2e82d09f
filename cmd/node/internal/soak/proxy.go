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
	moving chan struct{} // closed while bytes pass
}

func newProxy() (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, conns: map[net.Conn]bool{}, moving: make(chan struct{})}
	close(p.moving)
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
		go p.copy(from, to)
		go p.copy(to, from)
	}
}

func (p *proxy) copy(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		moving := p.moving
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

// stall lets nothing pass, until go on.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving = make(chan struct{})
}

func (p *proxy) goOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.moving)
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
	p.cut()
}
