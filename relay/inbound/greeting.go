package inbound

import (
	"errors"
	"os"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// greet waits as long as a client has to keep silent (RFC 5321 3.1). Those who
// do not are programs that never read a reply.
func (c *conn) greet() error {
	if c.guard.server.proxied(c.address) {
		c.widen()
		if err := c.unwrap(); err != nil {
			return err
		}
	}
	silence := c.timeouts().Greeting
	if silence <= 0 {
		return nil
	}
	if c.wait(time.Now().Add(silence)) {
		_, err := c.in.Peek(1)
		c.stopWaiting()
		switch {
		case err == nil:
			return c.answer(refuse(reasonEarly, 554, smtp.StatusSequence, "you spoke before the greeting").fatal())
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return c.fail(err)
		}
	}
	return nil // a drain, or that it has to go, is said at the first command
}
