package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// Result is what is printed; the names are those of JSON.
type Result struct {
	Hosts          map[string]int `json:"hosts"`
	Connects       int            `json:"connects"`
	FailedConnects int            `json:"failed_connects"`
	FailedReads    int            `json:"failed_reads"`
	StartTime      time.Time      `json:"start_time"`
	Timeout        time.Duration  `json:"timeout"`
	Duration       time.Duration  `json:"duration"`

	lock  sync.Mutex
	first error
}

// connect looks the name up once: what is tried is the address, not the name server.
func connect(opt options) (*Result, error) {
	network := "tcp"
	if opt.udp {
		network = "udp"
	}
	address, err := resolved(opt.address)
	if err != nil {
		return nil, err
	}
	choose, err := sources(opt)
	if err != nil {
		return nil, err
	}
	result := &Result{Hosts: map[string]int{}, StartTime: time.Now(), Timeout: opt.timeout}
	quiet := newSilence(opt.timeout)
	var all sync.WaitGroup
	places := make(chan struct{}, opt.maxConcurrent)
	var kept []net.Conn
	var keptLock sync.Mutex
	for i := 0; i < opt.connections; i++ {
		places <- struct{}{}
		all.Add(1)
		dialer := net.Dialer{LocalAddr: local(network, choose())}
		go func() {
			defer all.Done()
			defer func() { <-places }()
			connection := result.one(quiet, &dialer, network, address)
			if connection == nil {
				return
			}
			if !opt.keep {
				connection.Close()
				return
			}
			keptLock.Lock()
			kept = append(kept, connection)
			keptLock.Unlock()
		}()
	}
	all.Wait()
	for _, connection := range kept {
		connection.Close()
	}
	result.Duration = time.Since(result.StartTime)
	return result, nil
}

// one makes a connection and counts what came of it; nil when it was not made.
func (r *Result) one(quiet *silence, dialer *net.Dialer, network, address string) net.Conn {
	connection, err := dialer.DialContext(quiet.over, network, address)
	if err != nil {
		r.failed(&r.FailedConnects, quiet.explained(err))
		return nil
	}
	asking := make(chan struct{})
	defer close(asking)
	go func() {
		select {
		case <-quiet.over.Done():
			_ = connection.SetDeadline(time.Now())
		case <-asking:
		}
	}()
	name, err := asked(connection, network)
	if err != nil || name == "" {
		r.failed(&r.FailedReads, quiet.explained(err))
		return connection
	}
	quiet.broken()
	r.lock.Lock()
	defer r.lock.Unlock()
	r.Connects++
	r.Hosts[name]++
	return connection
}

// silence is over when nothing has been answered for so long: a slow host gets all the time that it needs,
// and one that is not there is given up at once for all connections.
type silence struct {
	over  context.Context
	limit time.Duration
	timer *time.Timer
}

func newSilence(limit time.Duration) *silence {
	over, end := context.WithCancel(context.Background())
	return &silence{over: over, limit: limit, timer: time.AfterFunc(limit, end)}
}

// broken begins to count anew, unless it is too late.
func (s *silence) broken() {
	if s.timer.Stop() {
		s.timer.Reset(s.limit)
	}
}

func (s *silence) explained(err error) error {
	if err == nil || s.over.Err() == nil {
		return err
	}
	return fmt.Errorf("nothing was answered for %v: %w", s.limit, err)
}

func asked(connection net.Conn, network string) (string, error) {
	if network == "tcp" {
		name, err := io.ReadAll(io.LimitReader(connection, 1024))
		return string(name), err
	}
	if _, err := connection.Write([]byte("?")); err != nil {
		return "", err
	}
	buffer := make([]byte, 1024)
	count, err := connection.Read(buffer)
	return string(buffer[:count]), err
}

func (r *Result) failed(counter *int, err error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	*counter++
	if r.first == nil {
		r.first = err
	}
}

func (r *Result) print(opt options) {
	if opt.output == "json" {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(r)
		return
	}
	fmt.Printf("Failed connects; %d\nFailed reads; %d\n", r.FailedConnects, r.FailedReads)
	names := make([]string, 0, len(r.Hosts))
	for name := range r.Hosts {
		names = append(names, name)
	}
	sort.Slice(names, func(a, b int) bool {
		if r.Hosts[names[a]] != r.Hosts[names[b]] {
			return r.Hosts[names[a]] > r.Hosts[names[b]]
		}
		return names[a] < names[b]
	})
	for _, name := range names {
		fmt.Println(strings.TrimSpace(name), r.Hosts[name])
	}
	if r.first != nil {
		fmt.Fprintln(os.Stderr, "mconnect: first failure:", r.first)
	}
}

func resolved(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	found, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(found.String(), port), nil
}

// sources gives a function that chooses source addresses: nil without a range.
func sources(opt options) (func() net.IP, error) {
	if opt.sources == "" {
		return func() net.IP { return nil }, nil
	}
	_, network, err := net.ParseCIDR(opt.sources)
	if err != nil {
		return nil, err
	}
	seed := opt.seed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	random := rand.New(rand.NewSource(seed))
	return func() net.IP {
		chosen := make(net.IP, len(network.IP))
		for i := range chosen {
			chosen[i] = network.IP[i] | byte(random.Intn(256))&^network.Mask[i]
		}
		return chosen
	}, nil
}

func local(network string, source net.IP) net.Addr {
	if source == nil {
		return nil
	}
	if network == "udp" {
		return &net.UDPAddr{IP: source}
	}
	return &net.TCPAddr{IP: source}
}
