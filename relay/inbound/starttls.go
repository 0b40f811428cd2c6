package inbound

import (
	"crypto/tls"
	"strings"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// startTLS does the handshake. If it fails, the connection ends: a client that
// wanted to be secure must not go on in plaintext.
func (c *conn) startTLS() error {
	if err := c.send([]byte("220 2.0.0 ready to start TLS\r\n")); err != nil {
		return err
	}
	until := c.until(c.timeouts().Handshake)
	c.raw.SetWriteDeadline(until)
	c.expect(until, time.Now())
	secured := tls.Server(c.raw, c.guard.server.options.TLS)
	err := apart(secured.Handshake)
	c.heard()
	if err != nil && c.gone() {
		c.refuse(reasonDismissed)
		return c.fail(err)
	}
	if err != nil {
		c.refuse(reasonHandshake)
		c.log().Info("session.tls", "address", c.address, "error", smtp.Printable(err.Error()))
		return c.fail(err)
	}
	c.raw.SetDeadline(time.Time{})
	c.stream = secured
	c.few.Reset(secured)
	c.in.Reset(c.few)
	state := secured.ConnectionState()
	c.tls, c.cipher = strings.ReplaceAll(tls.VersionName(state.Version), " ", ""), tls.CipherSuiteName(state.CipherSuite)
	c.hello = "" // RFC 3207 4.2: nothing that was said in plaintext counts
	return nil
}

// apart does what needs a large stack, which a goroutine that goes on would keep
// as long as the session lasts. A panic is handed on.
func apart(do func() error) (err error) {
	panicked := make(chan any, 1)
	go func() {
		defer func() { panicked <- recover() }()
		err = do()
	}()
	if cause := <-panicked; cause != nil {
		panic(cause)
	}
	return err
}
