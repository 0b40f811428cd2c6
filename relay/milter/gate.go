package milter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// What a filter may say about one message. The library itself would take half a
// gigabyte at a time, without end, and fails on a packet without content.
const (
	maxPacket = 256 << 10
	maxSaid   = 1 << 20
)

// gate stands between the library and the connection to a filter. It bounds what
// the filter says, sends what we say when an answer is waited for, and ends both
// with the context.
type gate struct {
	net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	packet []byte // rest of one that was read whole
	said   int    // by the filter
	begun  bool   // it has said something
	stop   func() bool
}

func newGate(ctx context.Context, conn net.Conn) *gate {
	g := &gate{Conn: conn, in: bufio.NewReader(conn), out: bufio.NewWriterSize(conn, maxField)}
	g.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return g
}

// Write keeps what is to be sent until there is enough, or an answer is read.
func (g *gate) Write(p []byte) (int, error) { return g.out.Write(p) }

// Read reads of a packet that has come whole.
func (g *gate) Read(p []byte) (int, error) {
	if len(g.packet) == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.packet)
	g.packet = g.packet[n:]
	return n, nil
}

// next reads a packet: its length, a command, and data.
func (g *gate) next() error {
	if err := g.out.Flush(); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(g.in, head[:]); err != nil {
		return err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length == 0 || length > maxPacket {
		return fmt.Errorf("it sent a packet of %d bytes", length)
	}
	if g.said += int(length); g.said > maxSaid {
		return fmt.Errorf("it said more than %d bytes", maxSaid)
	}
	packet := bytes.NewBuffer(append(make([]byte, 0, 512), head[:]...))
	if _, err := io.CopyN(packet, g.in, int64(length)); err != nil {
		return fmt.Errorf("a packet was cut off: %w", err)
	}
	g.packet = packet.Bytes()
	if !g.begun {
		g.begun = true
		modest(g.packet)
	}
	return nil
}

// modest takes from what a filter says in the negotiation the actions that were
// not offered. rspamd names all it knows, whatever it is offered, and does well
// without them; for the library that would be an error.
func modest(packet []byte) {
	const actions, end = 4 + 1 + 4, 4 + 1 + 8 // behind length, command and version
	if len(packet) < end || packet[4] != 'O' {
		return
	}
	asked := binary.BigEndian.Uint32(packet[actions:end])
	binary.BigEndian.PutUint32(packet[actions:end], asked&uint32(offered))
}

// Close sends what is left, and closes.
func (g *gate) Close() error {
	defer g.stop()
	_ = g.out.Flush() // the last word is a courtesy
	return g.Conn.Close()
}
