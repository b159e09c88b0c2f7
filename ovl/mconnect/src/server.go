package main

import (
	"net"
	"os"
	"time"
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
		go answer(connection, name)
	}
}

func answer(connection net.Conn, name string) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(time.Minute))
	_, _ = connection.Write([]byte(name))
}

func servePackets(address, name string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 2048)
	for {
		_, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		_, _ = socket.WriteTo([]byte(name), from)
	}
}
