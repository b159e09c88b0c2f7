package wire

import (
	"math/rand"
	"net"
	"strings"
	"sync"
	"time"
)

// Resolved looks the name of HOST:PORT up once: what is tried is the address, not the name server.
func Resolved(address string) (string, error) {
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

// Sources chooses source addresses from a range; without a range it leaves them to the kernel.
type Sources struct {
	network *net.IPNet
	random  *rand.Rand
	lock    sync.Mutex
}

// NewSources takes a range as 10.1.0.0/16, or "".
func NewSources(cidr string) (*Sources, error) {
	if cidr == "" {
		return &Sources{}, nil
	}
	_, network, err := net.ParseCIDR(cidr)
	if err != nil {
		return nil, err
	}
	return &Sources{network: network, random: rand.New(rand.NewSource(time.Now().UnixNano()))}, nil
}

// Next is a local address for a "tcp" or "udp" connection.
func (s *Sources) Next(network string) net.Addr {
	if s.network == nil {
		return nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	chosen := make(net.IP, len(s.network.IP))
	for i := range chosen {
		chosen[i] = s.network.IP[i] | byte(s.random.Intn(256))&^s.network.Mask[i]
	}
	if strings.HasPrefix(network, "udp") {
		return &net.UDPAddr{IP: chosen}
	}
	return &net.TCPAddr{IP: chosen}
}
