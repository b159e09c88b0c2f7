package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"time"

	"traffic/wire"
)

// A datagram has 8 bytes each: the run, its number from 1 on (0 asks for the report), how many there are.
const (
	smallest = 40
	most     = 1024 // runs that the server remembers
)

// Report is what came of one run.
type Report struct {
	Host       string `json:"host"`
	Sent       int    `json:"sent"`
	Received   int    `json:"received"` // each number once
	Lost       int    `json:"lost"`
	Duplicates int    `json:"duplicates"`
	Disordered int    `json:"out_of_order"`
}

// tally is what has come of a run so far.
type tally struct {
	seen                   map[uint64]struct{}
	highest                uint64
	duplicates, disordered int
}

func (t *tally) add(number uint64) {
	if _, twice := t.seen[number]; twice {
		t.duplicates++
		return
	}
	t.seen[number] = struct{}{}
	if number < t.highest {
		t.disordered++
	} else {
		t.highest = number
	}
}

// serve counts until it is ended.
func serve(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	socket, err := wire.Listen(address)
	if err != nil {
		return err
	}
	runs := map[uint64]*tally{}
	var order []uint64
	buffer := make([]byte, 65536)
	for {
		count, peer, err := socket.Receive(buffer)
		if err != nil {
			return err
		}
		if count < smallest {
			continue
		}
		run, number := binary.BigEndian.Uint64(buffer), binary.BigEndian.Uint64(buffer[8:])
		if runs[run] == nil {
			runs[run] = &tally{seen: map[uint64]struct{}{}}
			if order = append(order, run); len(order) > most {
				delete(runs, order[0])
				order = order[1:]
			}
		}
		if number > 0 {
			runs[run].add(number)
			continue
		}
		sent := int(binary.BigEndian.Uint64(buffer[16:]))
		t := runs[run]
		report, _ := json.Marshal(Report{name, sent, len(t.seen), sent - len(t.seen), t.duplicates, t.disordered})
		_ = socket.Answer(report, peer)
	}
}

// send makes one run, and asks for its report.
func send(opt options) (*Report, error) {
	address, err := wire.Resolved(opt.address)
	if err != nil {
		return nil, err
	}
	sources, err := wire.NewSources(opt.sources)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{LocalAddr: sources.Next("udp")}
	connection, err := dialer.Dial("udp", address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	packet := make([]byte, opt.size)
	run := rand.New(rand.NewSource(time.Now().UnixNano())).Uint64()
	binary.BigEndian.PutUint64(packet, run)
	binary.BigEndian.PutUint64(packet[16:], uint64(opt.count))
	began := time.Now()
	for number := 1; number <= opt.count; number++ {
		due := time.Duration(float64(number-1) / opt.rate * float64(time.Second))
		time.Sleep(time.Until(began.Add(due)))
		binary.BigEndian.PutUint64(packet[8:], uint64(number))
		// An error is what the network said of an earlier datagram; the other end counts what is lost.
		_, _ = connection.Write(packet)
	}
	binary.BigEndian.PutUint64(packet[8:], 0)
	return ask(connection, packet[:smallest], opt.timeout)
}

// ask repeats the question, since it may be lost as well.
func ask(connection net.Conn, question []byte, timeout time.Duration) (*Report, error) {
	answer := make([]byte, 2048)
	failure := errors.New("no answer")
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		time.Sleep(200 * time.Millisecond) // the last datagrams are under way
		_, failure = connection.Write(question)
		_ = connection.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		count, err := connection.Read(answer)
		if err != nil {
			failure = err
			continue
		}
		report := &Report{}
		if failure = json.Unmarshal(answer[:count], report); failure == nil {
			return report, nil
		}
	}
	return nil, fmt.Errorf("no report from %s: %w", connection.RemoteAddr(), failure)
}
