// tap-scrambler gives packets back in another order, and in fragments.
//
// It makes a TUN device. What is routed into the device comes out of it again, as if it had
// been received there: the packets of some milliseconds are held, cut and shuffled.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

type options struct {
	device   string
	fragment int
	hold     time.Duration
	order    string
	seed     int64
}

func main() {
	opt := options{}
	version := flag.Bool("version", false, "print the version")
	flag.StringVar(&opt.device, "dev", "scramble0", "the device to make")
	flag.IntVar(&opt.fragment, "fragment", 0, "cut packets into fragments of at most so many bytes; 0: do not")
	flag.DurationVar(&opt.hold, "hold", 20*time.Millisecond, "how long packets are held; 0: each is sent at once")
	flag.StringVar(&opt.order, "order", "reverse", "of the packets that were held: keep, reverse or random")
	flag.Int64Var(&opt.seed, "seed", 0, "of the random order; 0: another each time")
	flag.Parse()
	if *version {
		fmt.Println("tap-scrambler 1 (xcluster-doit)")
		return
	}
	known := opt.order == "keep" || opt.order == "reverse" || opt.order == "random"
	tooSmall := opt.fragment != 0 && opt.fragment < smallest
	if flag.NArg() > 0 || !known || tooSmall || opt.hold < 0 || len(opt.device) > 15 || opt.device == "" {
		fmt.Fprintf(os.Stderr, "tap-scrambler: -order is keep, reverse or random; -fragment is 0, or at least %d\n", smallest)
		flag.Usage()
		os.Exit(2)
	}
	if err := run(opt); err != nil {
		fmt.Fprintln(os.Stderr, "tap-scrambler:", err)
		os.Exit(1)
	}
}

// run goes on until a signal comes; the device goes with the process.
func run(opt options) error {
	tun, err := device(opt.device)
	if err != nil {
		return err
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGINT, syscall.SIGTERM)
	packets := make(chan []byte, 1024)
	failed := make(chan error, 1)
	go read(tun, packets, failed)
	counted, err := scramble(opt, tun, packets, failed, stopped)
	fmt.Printf("packets %d, sent %d\n", counted.packets, counted.sent)
	return err
}

type count struct{ packets, sent int }

// scramble holds packets from the first one on, and then sends all of them.
func scramble(opt options, tun *os.File, packets <-chan []byte, failed <-chan error, stopped <-chan os.Signal) (count, error) {
	seed := opt.seed
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	random := rand.New(rand.NewSource(seed))
	var held [][]byte
	var due <-chan time.Time
	counted := count{}
	for {
		select {
		case <-stopped:
			return counted, nil
		case err := <-failed:
			return counted, err
		case packet := <-packets:
			counted.packets++
			held = append(held, fragments(packet, opt.fragment)...)
			if due == nil {
				due = time.After(opt.hold)
			}
		case <-due:
			arrange(held, opt.order, random)
			for _, packet := range held {
				if _, err := tun.Write(packet); err == nil {
					counted.sent++
				}
			}
			held, due = nil, nil
		}
	}
}

func arrange(held [][]byte, order string, random *rand.Rand) {
	swap := func(a, b int) { held[a], held[b] = held[b], held[a] }
	switch order {
	case "reverse":
		for a, b := 0, len(held)-1; a < b; a, b = a+1, b-1 {
			swap(a, b)
		}
	case "random":
		random.Shuffle(len(held), swap)
	}
}

func read(tun *os.File, packets chan<- []byte, failed chan<- error) {
	for {
		buffer := make([]byte, 65536)
		length, err := tun.Read(buffer)
		if err != nil {
			failed <- err
			return
		}
		packets <- buffer[:length]
	}
}

// device makes a TUN device without headers of its own.
func device(name string) (*os.File, error) {
	const tunNoHeader, setTun = 0x0001 | 0x1000, 0x400454ca
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	request := struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}{flags: tunNoHeader}
	copy(request.name[:15], name)
	_, _, code := syscall.Syscall(syscall.SYS_IOCTL, tun.Fd(), setTun, uintptr(unsafe.Pointer(&request)))
	if code != 0 {
		return nil, fmt.Errorf("device %s: %w", name, code)
	}
	return tun, nil
}
