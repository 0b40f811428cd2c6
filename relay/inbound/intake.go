package inbound

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// begin starts the clock of content.
func (c *conn) begin() {
	c.since, c.received = time.Now(), 0
	c.excused.Store(0)
}

// excuse makes the content's clock stand still for d. Anyone may call it.
func (c *conn) excuse(d time.Duration) { c.excused.Add(int64(d)) }

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
	c.heard()
	c.content.scan(p[:n])
	c.chunk -= int64(n)
	c.received += int64(n)
	c.unbilled += int64(n)
	if c.chunk == 0 {
		c.bill()
	}
	if err != nil {
		return n, c.lost(err)
	}
	return n, nil
}

// body is the content of DATA, for the session. The engine would read it
// octet by octet; it only sees a dot, when the content has been read to its end.
type body struct{ *conn }

// Read reads content as it was before its dots were doubled. From a bare CR or
// LF on it gives nothing until the end, and the session asks flaw. The end of
// the connection is no end of content.
func (b body) Read(p []byte) (int, error) {
	for b.fault == nil && b.data && len(p) > 0 {
		if n, _ := b.readData(p); n > 0 { // its error stays in fault
			return n, nil
		}
	}
	switch {
	case errors.Is(b.fault, io.EOF):
		return 0, io.ErrUnexpectedEOF
	case b.fault != nil:
		return 0, b.fault
	}
	return 0, io.EOF
}

// readData reads of the content of DATA.
func (c *conn) readData(p []byte) (int, error) {
	if c.in.Buffered() == 0 {
		c.allow()
		_, err := c.in.Peek(1)
		c.heard()
		if err != nil {
			return 0, c.lost(err)
		}
	}
	piece, _ := c.in.Peek(min(c.in.Buffered(), len(p))) // what is buffered can be had
	n, given, end := c.content.unstuff(p, piece)
	c.received += int64(n)
	c.unbilled += int64(n)
	if end {
		c.bill()
		c.data, c.pending = false, []byte(".\r\n")
	}
	c.in.Discard(n)
	return given, nil
}

// allow gives the next octet of content its time: Idle, or less if the content
// comes too slowly on the whole.
func (c *conn) allow() {
	rate := float64(c.guard.server.options.Limits.Rate)
	owing := c.since.Add(time.Duration(c.excused.Load()) + time.Duration(float64(c.received)/rate*float64(time.Second)))
	slowest := owing.Add(c.timeouts().Idle)
	at := c.until(c.timeouts().Idle)
	if c.slow = slowest.Before(at); c.slow {
		at = slowest
	}
	c.expect(at, owing)
}

// until is d from now, or the end of the session.
func (c *conn) until(d time.Duration) time.Time {
	at, last := time.Now().Add(d), c.began.Add(c.timeouts().Session)
	if last.Before(at) {
		return last
	}
	return at
}

// awaitReader waits, before the reply to the first chunk of a message, until the
// goroutine of the engine that reads its content has asked for some. After that
// reply the client may say who it is anew, leave, or begin another message, which
// a goroutine that has yet to begin would take for its own. With content the
// engine waits by itself, but not if there is none, or it is cut off. Nothing
// else says whether there is a goroutine: a refused chunk has none.
func (c *conn) awaitReader(code string) {
	if c.verb == "BDAT" && !c.open && (code == "250" && !c.last || c.fault != nil) {
		<-c.asked
	}
}

// chunks is the content of BDAT, and tells when it is asked for.
type chunks struct {
	io.Reader
	asked func()
}

func (c chunks) Read(p []byte) (int, error) {
	c.asked()
	return c.Reader.Read(p)
}

// lost ends a connection that broke within content. It is closed at once, so
// that no reply of the engine says anything about the message.
func (c *conn) lost(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		switch {
		case c.gone():
			c.refuse(reasonDismissed)
		case c.slow:
			c.refuse(reasonSlow)
		default:
			c.refuse(reasonTimeout)
		}
	}
	c.raw.Close()
	return c.fail(err)
}
