// Package wire has what both testers need of the network.
package wire

import (
	"encoding/binary"
	"net"
	"syscall"
)

// Socket receives datagrams, and answers each from the address that it was sent to. A server
// that listens on all addresses would otherwise answer from the address of the outgoing
// interface, which a client that asked a virtual address does not accept.
type Socket struct {
	udp *net.UDPConn
	oob []byte
}

// Peer is where a datagram came from, and the address that it was sent to.
type Peer struct {
	From *net.UDPAddr
	to   []byte
}

// Listen opens a socket at HOST:PORT.
func Listen(address string) (*Socket, error) {
	local, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenUDP("udp", local)
	if err != nil {
		return nil, err
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		failure = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1)
		if failure != nil { // a socket for IPv4 alone
			failure = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
		}
	})
	if err == nil {
		err = failure
	}
	return &Socket{udp: udp, oob: make([]byte, 256)}, err
}

// Receive waits for a datagram.
func (s *Socket) Receive(buffer []byte) (int, Peer, error) {
	count, extra, _, from, err := s.udp.ReadMsgUDP(buffer, s.oob)
	if err != nil {
		return 0, Peer{}, err
	}
	return count, Peer{from, anyInterface(s.oob[:extra])}, nil
}

// Answer sends a datagram back.
func (s *Socket) Answer(data []byte, peer Peer) error {
	_, _, err := s.udp.WriteMsgUDP(data, peer.to, peer.From)
	return err
}

// anyInterface gives a copy of a control message in which only the address is left: the way
// back is what routes say, even if the request came in elsewhere.
func anyInterface(oob []byte) []byte {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, message := range messages {
		level, kind := message.Header.Level, message.Header.Type
		switch {
		case level == syscall.IPPROTO_IPV6 && kind == syscall.IPV6_PKTINFO && len(message.Data) >= 20:
			binary.LittleEndian.PutUint32(message.Data[16:], 0)
		case level == syscall.IPPROTO_IP && kind == syscall.IP_PKTINFO && len(message.Data) >= 12:
			binary.LittleEndian.PutUint32(message.Data, 0)
		}
	}
	return append([]byte(nil), oob...)
}
