package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Count is a number that several goroutines change; in JSON it is a number.
type Count struct{ atomic.Int64 }

// MarshalJSON gives the number.
func (c *Count) MarshalJSON() ([]byte, error) { return json.Marshal(c.Load()) }

// UnmarshalJSON reads it.
func (c *Count) UnmarshalJSON(data []byte) error {
	var value int64
	err := json.Unmarshal(data, &value)
	c.Store(value)
	return err
}

// Connection is one connection, from its first packet to its last.
type Connection struct {
	Host    string
	Local   string
	Remote  string
	Started time.Time
	Connect time.Duration // until the server had said its name
	Ended   time.Time
	Err     string `json:",omitempty"` // why it was lost

	Sent, Received, Dropped Count
}

// Sample is what was counted up to a moment.
type Sample struct {
	Time                    time.Duration // since the start
	Sent, Received, Dropped int64
}

// Statistics is what is printed; durations are in nanoseconds.
type Statistics struct {
	Started           time.Time
	Duration          time.Duration
	Timeout           time.Duration
	Rate              float64 // KB/s
	Connections       int
	PacketSize        int
	UDP               bool
	FailedConnects    int // attempts
	FailedConnections int // that were lost
	Sent              int64
	Received          int64
	Dropped           int64          // not sent, because the connection could not keep the pace
	Hosts             map[string]int // connections that each server had
	ConnStats         []*Connection  `json:",omitempty"`
	Samples           []Sample       `json:",omitempty"`

	lock  sync.Mutex
	first error
}

func newStatistics(opt options) *Statistics {
	return &Statistics{
		Started: time.Now(), Timeout: opt.timeout, Rate: opt.rate, Connections: opt.connections,
		PacketSize: opt.packet, UDP: opt.udp, Hosts: map[string]int{},
	}
}

func (s *Statistics) failedConnect(err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.FailedConnects++
	if s.first == nil {
		s.first = err
	}
}

// ended counts a connection that is over; an error says that it was lost.
func (s *Statistics) ended(connection *Connection, err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	connection.Ended = time.Now()
	if err != nil {
		connection.Err = err.Error()
		s.FailedConnections++
		if s.first == nil {
			s.first = err
		}
	}
	s.Hosts[connection.Host]++
	s.ConnStats = append(s.ConnStats, connection)
}

func (s *Statistics) failures() (lost, connects int) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.FailedConnections, s.FailedConnects
}

func (s *Statistics) sample(sent, received, dropped int64) {
	s.Samples = append(s.Samples, Sample{time.Since(s.Started), sent, received, dropped})
}

func (s *Statistics) close(sent, received, dropped int64) {
	s.Duration = time.Since(s.Started)
	s.Sent, s.Received, s.Dropped = sent, received, dropped
	s.sample(sent, received, dropped)
}

// code is 1 when a connection was lost, or could not be made.
func (s *Statistics) code() int {
	if s.FailedConnects+s.FailedConnections > 0 {
		return 1
	}
	return 0
}

// write prints the statistics, or puts them into a file.
func (s *Statistics) write(opt options) error {
	if s.first != nil {
		fmt.Fprintln(os.Stderr, "ctraffic: first failure:", s.first)
	}
	if opt.stats == "none" {
		return nil
	}
	if opt.stats == "summary" {
		s.ConnStats, s.Samples = nil, nil
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if opt.file == "-" {
		_, err = os.Stdout.Write(data)
		return err
	}
	return os.WriteFile(opt.file, data, 0o644)
}

// read gives the statistics of a file, or of stdin.
func read(file string) (*Statistics, error) {
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(os.Stdin)
	} else {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, err
	}
	read := &Statistics{}
	if err := json.Unmarshal(data, read); err != nil {
		return nil, fmt.Errorf("%s has no statistics of ctraffic: %w", file, err)
	}
	return read, nil
}
