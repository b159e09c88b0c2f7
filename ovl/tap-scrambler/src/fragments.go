package main

import (
	"encoding/binary"
	"sync/atomic"
)

// smallest is the smallest length of fragments: the headers of IPv6, and 8 bytes.
const smallest = 56

const (
	header4, header6, extension = 20, 40, 8
	fragmentHeader              = 44 // the next header of IPv6
	more                        = 1
)

var identification atomic.Uint32 // of packets of IPv6

// fragments cuts a packet into pieces of at most `limit` bytes. A piece that is one already, and
// what is no IP, stays as it is; the bit that forbids fragments is ignored.
func fragments(packet []byte, limit int) [][]byte {
	if limit == 0 || len(packet) <= limit || len(packet) < header4 {
		return [][]byte{packet}
	}
	switch packet[0] >> 4 {
	case 4:
		return cut4(packet, limit)
	case 6:
		return cut6(packet, limit)
	}
	return [][]byte{packet}
}

func cut4(packet []byte, limit int) [][]byte {
	header := int(packet[0]&15) * 4
	place := binary.BigEndian.Uint16(packet[6:])
	if header != header4 || place&0x3fff != 0 {
		return [][]byte{packet}
	}
	pieces := [][]byte{}
	for from, data := range cut(packet[header:], limit-header) {
		piece := append(append([]byte(nil), packet[:header]...), data.bytes...)
		binary.BigEndian.PutUint16(piece[2:], uint16(len(piece)))
		field := uint16(data.offset / 8)
		if !data.last {
			field |= 0x2000
		}
		if from == 0 && place&0x4000 != 0 { // a packet that forbids fragments may have no number
			identification.Add(1)
		}
		if place&0x4000 != 0 {
			binary.BigEndian.PutUint16(piece[4:], uint16(identification.Load()))
		}
		binary.BigEndian.PutUint16(piece[6:], field)
		binary.BigEndian.PutUint16(piece[10:], 0)
		binary.BigEndian.PutUint16(piece[10:], checksum(piece[:header]))
		pieces = append(pieces, piece)
	}
	return pieces
}

func cut6(packet []byte, limit int) [][]byte {
	if len(packet) < header6 || packet[6] == fragmentHeader || packet[6] == 0 {
		return [][]byte{packet}
	}
	number := identification.Add(1)
	pieces := [][]byte{}
	for _, data := range cut(packet[header6:], limit-header6-extension) {
		piece := append([]byte(nil), packet[:header6]...)
		piece[6] = fragmentHeader
		binary.BigEndian.PutUint16(piece[4:], uint16(extension+len(data.bytes)))
		field := uint16(data.offset)
		if !data.last {
			field |= more
		}
		extra := []byte{packet[6], 0, byte(field >> 8), byte(field), 0, 0, 0, 0}
		binary.BigEndian.PutUint32(extra[4:], number)
		pieces = append(pieces, append(append(piece, extra...), data.bytes...))
	}
	return pieces
}

type part struct {
	offset int
	bytes  []byte
	last   bool
}

// cut gives parts of at most `room` bytes; the length of all but the last is a multiple of 8.
func cut(data []byte, room int) []part {
	room &^= 7
	parts := []part{}
	for offset := 0; offset < len(data); offset += room {
		end := offset + room
		if end > len(data) {
			end = len(data)
		}
		parts = append(parts, part{offset, data[offset:end], end == len(data)})
	}
	return parts
}

func checksum(header []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
