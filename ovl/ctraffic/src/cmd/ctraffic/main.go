// ctraffic keeps many connections open, sends packets over them at a steady rate, and counts
// what comes back: what a load balancer, a link or a server that goes away does to traffic.
//
// As a server it sends its host name, and then every packet back.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	server      bool
	address     string
	connections int
	rate        float64
	packet      int
	timeout     time.Duration
	monitor     bool
	stats       string
	file        string
	analyze     string
	sources     string
	udp         bool
	reconnect   bool
	retries     int
}

func main() {
	opt := options{}
	version := flag.Bool("version", false, "print the version")
	flag.BoolVar(&opt.server, "server", false, "send packets back")
	flag.StringVar(&opt.address, "address", "[::1]:5003", "HOST:PORT to connect to, or to listen at")
	flag.IntVar(&opt.connections, "nconn", 1, "number of connections")
	flag.Float64Var(&opt.rate, "rate", 10, "KB/s, of all connections together")
	flag.IntVar(&opt.packet, "psize", 1024, "bytes of a packet, at least 80")
	flag.DurationVar(&opt.timeout, "timeout", 10*time.Second, "how long the traffic lasts")
	flag.BoolVar(&opt.monitor, "monitor", false, "print a line each second, on stderr")
	flag.StringVar(&opt.stats, "stats", "summary", "none, summary or all")
	flag.StringVar(&opt.file, "stat_file", "-", "the file for the statistics, or with -analyze the file to read")
	flag.StringVar(&opt.analyze, "analyze", "", "throughput, hosts or connections: print that of a file of -stats all")
	flag.StringVar(&opt.sources, "srccidr", "", "take source addresses from this range")
	flag.BoolVar(&opt.udp, "udp", false, "UDP instead of TCP")
	flag.BoolVar(&opt.reconnect, "reconnect", true, "replace a connection that was lost")
	flag.IntVar(&opt.retries, "retries", 0, "give a connection up after so many attempts more; 0: go on until the timeout")
	flag.Parse()
	if *version {
		fmt.Println("ctraffic 1 (xcluster-doit)")
		return
	}
	if wrong := opt.wrong(); wrong != "" {
		fmt.Fprintln(os.Stderr, "ctraffic:", wrong)
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(run(opt))
}

// wrong says what no run can be made of.
func (o options) wrong() string {
	switch {
	case flag.NArg() > 0:
		return "unexpected word: " + flag.Arg(0)
	case o.connections < 1:
		return "-nconn must be at least 1"
	case o.rate <= 0:
		return "-rate must be more than 0"
	case o.packet < smallest || o.packet > 60000:
		return fmt.Sprintf("-psize must be from %d to 60000", smallest)
	case o.timeout <= 0:
		return "-timeout must be more than 0"
	case o.retries < 0:
		return "-retries must not be negative"
	case o.stats != "none" && o.stats != "summary" && o.stats != "all":
		return "-stats must be none, summary or all"
	case o.analyze != "" && analyses[o.analyze] == nil:
		return "-analyze must be throughput, hosts or connections"
	}
	return ""
}

func (o options) network() string {
	if o.udp {
		return "udp"
	}
	return "tcp"
}

func run(opt options) int {
	var err error
	switch {
	case opt.server:
		err = serve(opt)
	case opt.analyze != "":
		err = analyze(opt)
	default:
		var result *Statistics
		if result, err = generate(opt); err == nil {
			err = result.write(opt)
		}
		if err == nil {
			return result.code()
		}
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "ctraffic:", err)
	return 2
}
