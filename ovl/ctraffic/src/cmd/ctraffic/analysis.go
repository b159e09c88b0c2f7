package main

import (
	"errors"
	"fmt"
	"sort"
	"time"
)

var analyses = map[string]func(*Statistics) error{
	"throughput":  throughput,
	"hosts":       hosts,
	"connections": connections,
}

func analyze(opt options) error {
	statistics, err := read(opt.file)
	if err != nil {
		return err
	}
	return analyses[opt.analyze](statistics)
}

// throughput prints KB/s between two samples.
func throughput(s *Statistics) error {
	if len(s.Samples) == 0 {
		return errors.New("there are no samples: record with -stats all")
	}
	fmt.Println("seconds sent-KB/s received-KB/s dropped-packets")
	last := Sample{}
	for _, sample := range s.Samples {
		seconds := (sample.Time - last.Time).Seconds()
		if seconds < 0.1 {
			continue
		}
		rate := func(packets int64) float64 { return float64(packets*int64(s.PacketSize)) / 1024 / seconds }
		fmt.Printf("%.1f %.1f %.1f %d\n", sample.Time.Seconds(), rate(sample.Sent-last.Sent),
			rate(sample.Received-last.Received), sample.Dropped-last.Dropped)
		last = sample
	}
	return nil
}

// hosts prints how many connections each server had: those that were lost, and those that lasted.
func hosts(s *Statistics) error {
	if len(s.ConnStats) == 0 {
		return errors.New("there are no connections: record with -stats all")
	}
	counts := map[bool]map[string]int{true: {}, false: {}}
	totals := map[bool]int{}
	for _, each := range s.ConnStats {
		counts[each.Err == ""][each.Host]++
		totals[each.Err == ""]++
	}
	for _, lasted := range []bool{false, true} {
		fmt.Printf("%s connections: %d\n", map[bool]string{false: "Lost", true: "Lasting"}[lasted], totals[lasted])
		for _, name := range sorted(counts[lasted]) {
			fmt.Printf("  %s %d\n", name, counts[lasted][name])
		}
	}
	return nil
}

func sorted(counts map[string]int) []string {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// connections prints a line for each connection, in the order of their starts.
func connections(s *Statistics) error {
	if len(s.ConnStats) == 0 {
		return errors.New("there are no connections: record with -stats all")
	}
	sort.Slice(s.ConnStats, func(a, b int) bool { return s.ConnStats[a].Started.Before(s.ConnStats[b].Started) })
	fmt.Println("started ended connect host local sent received dropped error")
	for _, each := range s.ConnStats {
		since := func(moment time.Time) float64 { return moment.Sub(s.Started).Seconds() }
		fmt.Printf("%.3f %.3f %.3f %s %s %d %d %d %s\n", since(each.Started), since(each.Ended), each.Connect.Seconds(),
			each.Host, each.Local, each.Sent.Load(), each.Received.Load(), each.Dropped.Load(), each.Err)
	}
	return nil
}
