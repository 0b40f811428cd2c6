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
	c.raw.SetDeadline(c.until(c.timeouts().Handshake))
	secured := tls.Server(c.raw, c.guard.server.options.TLS)
	if err := secured.Handshake(); err != nil {
		c.refuse(reasonHandshake)
		c.log().Info("session.tls", "address", c.address, "error", smtp.Printable(err.Error()))
		return c.fail(err)
	}
	c.raw.SetDeadline(time.Time{})
	c.stream = secured
	c.in.Reset(secured)
	state := secured.ConnectionState()
	c.tls, c.cipher = strings.ReplaceAll(tls.VersionName(state.Version), " ", ""), tls.CipherSuiteName(state.CipherSuite)
	c.hello = "" // RFC 3207 4.2: nothing that was said in plaintext counts
	return nil
}
