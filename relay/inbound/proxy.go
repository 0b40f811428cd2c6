package inbound

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// A header of the PROXY protocol comes before anything else, and whole.
const (
	proxyTime = 5 * time.Second
	maxProxy1 = 107     // octets of version 1, by its specification
	maxProxy2 = 4 << 10 // octets behind the fixed part of version 2; it must fit into readBuffer
)

// signature begins a header of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

var errProxy = errors.New("no header of the PROXY protocol")

// readProxy reads a header of the PROXY protocol, version 1 or 2. The address is
// that of the client; the zero Addr if the proxy speaks for itself, or does not
// know. Behind the header nothing is read.
func readProxy(in *bufio.Reader) (netip.Addr, error) {
	begin, err := in.Peek(len(signature)) // a header of version 1 has more
	switch {
	case err != nil:
		return netip.Addr{}, err
	case string(begin) == signature:
		return readProxy2(in)
	case bytes.HasPrefix(begin, []byte("PROXY ")):
		return readProxy1(in)
	}
	return netip.Addr{}, errProxy
}

// readProxy1 reads PROXY TCP4 SOURCE DESTINATION PORT PORT.
func readProxy1(in *bufio.Reader) (netip.Addr, error) {
	var line []byte
	for len(line) == 0 || line[len(line)-1] != '\n' {
		c, err := in.ReadByte()
		if err != nil {
			return netip.Addr{}, err
		}
		if line = append(line, c); len(line) > maxProxy1 {
			return netip.Addr{}, errProxy
		}
	}
	text, whole := strings.CutSuffix(string(line), "\r\n")
	words := strings.Split(text, " ")
	switch {
	case !whole:
		return netip.Addr{}, errProxy
	case words[1] == "UNKNOWN": // whatever follows
		return netip.Addr{}, nil
	case len(words) != 6, !isPort(words[4]), !isPort(words[5]):
		return netip.Addr{}, errProxy
	}
	from, err := netip.ParseAddr(words[2])
	to, err2 := netip.ParseAddr(words[3])
	four := words[1] == "TCP4"
	if err != nil || err2 != nil || !four && words[1] != "TCP6" || from.Is4() != four || to.Is4() != four || from.Zone() != "" {
		return netip.Addr{}, errProxy
	}
	return from.Unmap(), nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// readProxy2 reads the fixed part, the addresses, and what else is behind them.
func readProxy2(in *bufio.Reader) (from netip.Addr, err error) {
	const fixed = len(signature) + 4
	head, err := in.Peek(fixed)
	if err != nil {
		return from, err
	}
	command, family, size := head[12], head[13], int(binary.BigEndian.Uint16(head[14:]))
	if size > maxProxy2 {
		return from, errProxy
	}
	all, err := in.Peek(fixed + size)
	if err != nil {
		return from, err
	}
	addresses := all[fixed:]
	switch {
	case command == 0x20: // the proxy itself, as to see whether we are well
	case command != 0x21:
		return from, errProxy
	case family == 0x00: // unknown
	case family == 0x11 && size >= 12: // TCP over IPv4
		from = netip.AddrFrom4([4]byte(addresses))
	case family == 0x21 && size >= 36: // TCP over IPv6
		from = netip.AddrFrom16([16]byte(addresses)).Unmap()
	default:
		return from, errProxy
	}
	in.Discard(fixed + size) // it is buffered
	return from, nil
}

// unwrap learns from a proxy whose connection this is, and lets that client in as
// if it had come itself. Who has no header gets no reply: it is no proxy.
func (c *conn) unwrap() error {
	if !c.wait(time.Now().Add(proxyTime)) {
		return c.farewell(c.notNow())
	}
	address, err := readProxy(c.in)
	if c.stopWaiting() && err != nil {
		return c.farewell(c.notNow())
	}
	if err != nil && c.in.Buffered() == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
		return c.fail(err) // it only looked whether we are here
	}
	if err != nil {
		c.refuse(reasonProxy)
		c.log().Warn("session.proxy", "address", c.address, "error", smtp.Printable(err.Error()))
		return c.fail(err)
	}
	if !address.IsValid() {
		return nil
	}
	s := c.guard.server
	c.address = address
	if s.trusts(address) {
		return nil
	}
	if reason := s.place(address); reason != "" {
		return c.farewell(crowded(reason).fatal())
	}
	c.exempt = false
	return nil
}
