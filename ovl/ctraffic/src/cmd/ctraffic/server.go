package main

import (
	"io"
	"net"
	"os"

	"traffic/wire"
)

// A packet of UDP begins with a number of 8 bytes; in an answer, the length of the host name
// and the name follow. smallest is what has room for that.
const (
	number   = 8
	smallest = 80
)

func serve(opt options) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	if opt.udp {
		return servePackets(opt.address, name)
	}
	listener, err := net.Listen("tcp", opt.address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go echo(connection, name)
	}
}

// echo ends when the client does; TCP keep-alive notices one that is gone.
func echo(connection net.Conn, name string) {
	defer connection.Close()
	if _, err := io.WriteString(connection, name+"\n"); err == nil {
		_, _ = io.Copy(connection, connection)
	}
}

func servePackets(address, name string) error {
	socket, err := wire.Listen(address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 65536)
	for {
		count, peer, err := socket.Receive(buffer)
		if err != nil {
			return err
		}
		if count >= smallest {
			sign(buffer[:count], name)
			_ = socket.Answer(buffer[:count], peer)
		}
	}
}

// sign writes the host name into an answer.
func sign(packet []byte, name string) {
	if room := smallest - number - 1; len(name) > room {
		name = name[:room]
	}
	packet[number] = byte(len(name))
	copy(packet[number+1:], name)
}

// signature is the host name in an answer; "" if there is none.
func signature(packet []byte) string {
	if len(packet) < smallest || int(packet[number]) > smallest-number-1 {
		return ""
	}
	return string(packet[number+1 : number+1+int(packet[number])])
}
