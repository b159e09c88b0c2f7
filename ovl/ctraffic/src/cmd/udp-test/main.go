// udp-test sends numbered datagrams at a steady rate, and reports what the other end got of
// them: lost, twice, out of order. The server keeps a count for each client.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	server  bool
	address string
	count   int
	rate    float64
	size    int
	timeout time.Duration
	sources string
	output  string
}

func main() {
	opt := options{}
	version := flag.Bool("version", false, "print the version")
	flag.BoolVar(&opt.server, "server", false, "receive, and tell clients what came")
	flag.StringVar(&opt.address, "address", "[::1]:6001", "HOST:PORT to send to, or to listen at")
	flag.IntVar(&opt.count, "n", 100, "number of datagrams")
	flag.Float64Var(&opt.rate, "rate", 100, "datagrams a second")
	flag.IntVar(&opt.size, "psize", 512, "bytes of a datagram, from 40 to 65000; larger ones than the MTU allows are fragmented")
	flag.DurationVar(&opt.timeout, "timeout", 3*time.Second, "for the report of the server, after the last datagram")
	flag.StringVar(&opt.sources, "srccidr", "", "take the source address from this range")
	flag.StringVar(&opt.output, "output", "txt", "txt or json")
	flag.Parse()
	if *version {
		fmt.Println("udp-test 1 (xcluster-doit)")
		return
	}
	wrong := opt.count < 1 || opt.rate <= 0 || opt.size < smallest || opt.size > 65000
	if wrong || flag.NArg() > 0 || opt.timeout <= 0 || (opt.output != "txt" && opt.output != "json") {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(run(opt))
}

func run(opt options) int {
	if opt.server {
		fmt.Fprintln(os.Stderr, "udp-test:", serve(opt.address))
		return 2
	}
	report, err := send(opt)
	if err != nil {
		fmt.Fprintln(os.Stderr, "udp-test:", err)
		return 2
	}
	if opt.output == "json" {
		data, _ := json.MarshalIndent(report, "", "  ")
		fmt.Println(string(data))
	} else {
		fmt.Printf("%s: sent %d, received %d, lost %d, duplicates %d, out of order %d\n",
			report.Host, report.Sent, report.Received, report.Lost, report.Duplicates, report.Disordered)
	}
	if report.Lost > 0 {
		return 1
	}
	return 0
}
