package inbound

import (
	"errors"
	"os"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// begin starts the clock of content.
func (c *conn) begin() {
	c.since, c.received = time.Now(), 0
}

// clear begins a new message.
func (c *conn) clear() { c.content = framing{} }

// flaw is what is wrong with content that has been read to its end; nil if it is whole and clean.
func (c *conn) flaw() *refusal {
	switch {
	case c.fault != nil || c.chunk > 0:
		return refuse(reasonTruncated, 451, smtp.StatusTimeout, "the content is not whole")
	case c.content.flawed():
		return refuse(reasonBareCRLF, 550, smtp.StatusInvalidContent, "the message has a bare CR or LF, which RFC 5321 forbids")
	}
	return nil
}

// readChunk reads of a BDAT chunk.
func (c *conn) readChunk(p []byte) (int, error) {
	if c.in.Buffered() == 0 {
		c.allow()
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.chunk)])
	c.content.scan(p[:n])
	c.chunk -= int64(n)
	c.received += int64(n)
	if err != nil {
		return n, c.lost(err)
	}
	return n, nil
}

// readData reads of the content of DATA. The engine only ever sees clean line
// ends, on which it agrees with us about the end: from a bare CR or LF on we
// read to the end ourselves, and the session asks flaw.
func (c *conn) readData(p []byte) (int, error) {
	if c.in.Buffered() == 0 {
		c.allow()
		if _, err := c.in.Peek(1); err != nil {
			return 0, c.lost(err)
		}
	}
	piece, _ := c.in.Peek(min(c.in.Buffered(), len(p))) // what is buffered can be had
	n, end := c.content.scan(piece)
	c.received += int64(n)
	c.data = !end
	given := 0
	switch {
	case !c.content.bare:
		given = copy(p, piece[:n])
	case end:
		c.pending = []byte("x\r\n.\r\n") // from any state of the engine that ends its data
	}
	c.in.Discard(n)
	return given, nil
}

// allow gives the next octet of content its time: Idle, or less if the content
// comes too slowly on the whole.
func (c *conn) allow() {
	limits := &c.guard.server.options.Limits
	slowest := c.since.Add(c.timeouts().Idle + time.Duration(float64(c.received)/float64(limits.Rate)*float64(time.Second)))
	at := c.until(c.timeouts().Idle)
	if slowest.Before(at) {
		at = slowest
	}
	c.raw.SetReadDeadline(at)
}

// until is d from now, or the end of the session.
func (c *conn) until(d time.Duration) time.Time {
	at, last := time.Now().Add(d), c.began.Add(c.timeouts().Session)
	if last.Before(at) {
		return last
	}
	return at
}

// lost ends a connection that broke within content. It is closed at once, so
// that no reply of the engine says anything about the message.
func (c *conn) lost(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.refuse(reasonTimeout)
	}
	c.raw.Close()
	return c.fail(err)
}
