// mconnect makes many connections, and counts which host has answered each.
//
// As a server it answers every connection, or UDP packet, with its host name.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	server        bool
	address       string
	connections   int
	output        string
	sources       string
	seed          int64
	udp           bool
	timeout       time.Duration
	keep          bool
	maxConcurrent int
}

func main() {
	opt := options{}
	version := flag.Bool("version", false, "print the version")
	flag.BoolVar(&opt.server, "server", false, "answer connections")
	flag.StringVar(&opt.address, "address", "[::1]:5001", "HOST:PORT to connect to, or to listen at")
	flag.IntVar(&opt.connections, "nconn", 1, "number of connections")
	flag.StringVar(&opt.output, "output", "txt", "txt or json")
	flag.StringVar(&opt.sources, "srccidr", "", "take source addresses from this range")
	flag.Int64Var(&opt.seed, "seed", 0, "of the choice of source addresses; 0: another each time")
	flag.BoolVar(&opt.udp, "udp", false, "UDP instead of TCP")
	flag.DurationVar(&opt.timeout, "timeout", 10*time.Second, "give up after this time in which nothing was answered")
	flag.BoolVar(&opt.keep, "keep", false, "keep connections open until the last has been answered")
	flag.IntVar(&opt.maxConcurrent, "maxconcurrent", 64, "connections that are opened at the same time")
	flag.Parse()
	if *version {
		fmt.Println("mconnect 1 (xcluster-doit)")
		return
	}
	if flag.NArg() > 0 || opt.connections < 1 || opt.maxConcurrent < 1 || (opt.output != "txt" && opt.output != "json") {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(run(opt))
}

func run(opt options) int {
	if opt.server {
		fmt.Fprintln(os.Stderr, "mconnect:", serve(opt))
		return 1
	}
	result, err := connect(opt)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mconnect:", err)
		return 2
	}
	result.print(opt)
	if result.FailedConnects+result.FailedReads > 0 {
		return 1
	}
	return 0
}
