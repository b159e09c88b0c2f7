package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"traffic/wire"
)

const (
	patience = 1500 * time.Millisecond // for a connection, and for what is under way at the end
	silence  = 3 * time.Second         // after which a connection counts as lost
	pause    = 100 * time.Millisecond  // between attempts
)

// client is all that the connections share.
type client struct {
	options
	sources  *wire.Sources
	interval time.Duration // between packets of one connection
	end      time.Time
	result   *Statistics

	active, sent, received, dropped atomic.Int64
}

// generate makes the traffic, until the timeout; an error is one that no connection could go on with.
func generate(opt options) (*Statistics, error) {
	var err error
	if opt.address, err = wire.Resolved(opt.address); err != nil {
		return nil, err
	}
	sources, err := wire.NewSources(opt.sources)
	if err != nil {
		return nil, err
	}
	c := &client{options: opt, sources: sources, result: newStatistics(opt)}
	c.interval = time.Duration(float64(opt.packet*opt.connections) / (opt.rate * 1024) * float64(time.Second))
	c.end = c.result.Started.Add(opt.timeout)
	var all sync.WaitGroup
	for i := 0; i < opt.connections; i++ {
		all.Add(1)
		first := time.Duration(int64(c.interval) / int64(opt.connections) * int64(i))
		go func() {
			defer all.Done()
			c.keep(first)
		}()
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	c.watch(done)
	c.result.close(c.sent.Load(), c.received.Load(), c.dropped.Load())
	return c.result, nil
}

// watch takes a sample each second, until all connections have ended.
func (c *client) watch(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		c.result.sample(c.sent.Load(), c.received.Load(), c.dropped.Load())
		if c.monitor {
			lost, failed := c.result.failures()
			fmt.Fprintf(os.Stderr, "connections active/lost/failed connects: %d/%d/%d, packets sent/received/dropped: %d/%d/%d\n",
				c.active.Load(), lost, failed, c.sent.Load(), c.received.Load(), c.dropped.Load())
		}
	}
}

// keep has one connection at any time; the first packet is sent after `first`.
func (c *client) keep(first time.Duration) {
	for failed := 0; time.Now().Before(c.end); {
		link, err := c.connect()
		if err != nil {
			c.result.failedConnect(err)
			if failed++; c.retries > 0 && failed > c.retries {
				return
			}
			time.Sleep(pause)
			continue
		}
		failed = 0
		c.active.Add(1)
		err = c.exchange(link, first)
		c.active.Add(-1)
		link.Close()
		c.result.ended(link.about, err)
		if err == nil || !c.reconnect {
			return
		}
	}
}

// link is a connection that works: its server has said its name.
type link struct {
	net.Conn
	in    *bufio.Reader // TCP
	about *Connection
}

func (c *client) connect() (*link, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: c.sources.Next(c.network())}
	started := time.Now()
	connection, err := dialer.Dial(c.network(), c.address)
	if err != nil {
		return nil, err
	}
	made := &link{Conn: connection, in: bufio.NewReader(connection)}
	host, err := c.greeting(made)
	if err != nil {
		connection.Close()
		return nil, err
	}
	made.about = &Connection{
		Host: host, Started: started, Connect: time.Since(started),
		Local: connection.LocalAddr().String(), Remote: connection.RemoteAddr().String(),
	}
	return made, nil
}

// greeting is the host name that the server sends first; with UDP it is asked.
func (c *client) greeting(l *link) (string, error) {
	_ = l.SetDeadline(time.Now().Add(patience))
	defer func() { _ = l.SetDeadline(time.Time{}) }()
	if !c.udp {
		name, err := l.in.ReadString('\n')
		return strings.TrimSpace(name), err
	}
	packet := make([]byte, c.packet)
	if _, err := l.Write(packet); err != nil {
		return "", err
	}
	count, err := l.Read(packet)
	if err == nil && signature(packet[:count]) == "" {
		err = errors.New("this is no server of ctraffic")
	}
	return signature(packet[:count]), err
}

// exchange sends packets until the end, and counts answers; an error means that the connection was lost.
func (c *client) exchange(l *link, first time.Duration) error {
	broken := make(chan error, 1)
	go func() { broken <- c.count(l) }()
	packet := make([]byte, c.packet)
	next := time.Now().Add(first)
	for next.Before(c.end) {
		select {
		case err := <-broken:
			return lost(err)
		case <-time.After(time.Until(next)):
		}
		binary.BigEndian.PutUint64(packet, uint64(l.about.Sent.Load()+1))
		_ = l.SetWriteDeadline(time.Now().Add(silence))
		if _, err := l.Write(packet); err != nil {
			return lost(err)
		}
		l.about.Sent.Add(1)
		c.sent.Add(1)
		// A connection that cannot keep the pace, or a host that is busy, leaves packets out.
		for next = next.Add(c.interval); time.Since(next) > c.interval && next.Before(c.end); next = next.Add(c.interval) {
			l.about.Dropped.Add(1)
			c.dropped.Add(1)
		}
	}
	return c.finish(l, broken)
}

// finish waits for the answers that are under way.
func (c *client) finish(l *link, broken <-chan error) error {
	limit := time.After(patience)
	for l.about.Received.Load() < l.about.Sent.Load() {
		select {
		case err := <-broken:
			return lost(err)
		case <-limit:
			if l.about.Received.Load() == 0 {
				return errors.New("no packet came back")
			}
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// count reads answers until there are none any more.
func (c *client) count(l *link) error {
	packet := make([]byte, 65536)
	for {
		_ = l.SetReadDeadline(time.Now().Add(silence + c.interval))
		var err error
		if c.udp {
			_, err = l.Read(packet)
		} else {
			_, err = io.ReadFull(l.in, packet[:c.packet])
		}
		if err != nil {
			return err
		}
		l.about.Received.Add(1)
		c.received.Add(1)
	}
}

// lost is never nil: a server that ends a connection in good order loses it too.
func lost(err error) error {
	var timeout net.Error
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return errors.New("the server closed the connection")
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no packet came back in time")
	}
	return err
}
