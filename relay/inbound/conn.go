package inbound

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/queue/failpoint"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// conn is a client's connection as the engine sees it: plaintext, one command
// line for each Read, and content with its exact length. It is used by the
// goroutine of the engine that serves it; drain comes from outside. A session
// that reads the content of BDAT in another goroutine may ask flaw at its end,
// because the engine then waits for it.
//
// Read errors are for ever. So whatever the engine does after one, it gets no
// further byte. Where a command could come, each is the end to the engine, which
// would log how a client left as an error of ours.
type conn struct {
	raw     net.Conn
	guard   *guard
	address netip.Addr
	exempt  bool // only the total of sessions counts it
	began   time.Time

	stream   net.Conn      // raw, or TLS on it
	in       *bufio.Reader // from few, or few itself
	few      *bufio.Reader // from stream
	pending  []byte        // for the engine to read first
	reply    []byte        // lines of a reply whose last one has not been written
	held     []byte        // replies that go out with the next one
	greeted  bool
	verb     string        // of the command that the engine is at
	path     smtp.Path     // its forward-path
	hello    string        // the client's name, from a command that was accepted
	offered  string        // the name in a command that may be accepted
	extended bool          // it said EHLO
	tls      string        // version, "" is plaintext
	cipher   string        // name of the cipher suite
	data     bool          // content of DATA comes
	chunk    int64         // octets of a BDAT chunk that are still to come
	last     bool          // it is the last one of its message
	open     bool          // a chunk was accepted that was not the last one
	loose    bool          // the engine has dropped content of BDAT, and its goroutine may still run
	asked    chan struct{} // closed when that goroutine asks for content, see awaitReader
	content  framing
	since    time.Time    // content began
	received int64        // octets of it
	excused  atomic.Int64 // time in which the client had to wait for us, in nanoseconds
	slow     bool         // content may not take as long as a pause may
	unbilled int64        // octets of content that do not count yet
	flaws    int          // command lines that we refused
	fault    error        // of the last read; nothing is read after it

	mu        sync.Mutex
	refused   map[string]int
	counted   bool      // a refusal since the engine was given its command
	waiting   bool      // for a command, in Read
	owing     time.Time // since when the client has kept us waiting; zero if it does not
	draining  bool
	dismissed bool // its place is for another
	closed    bool
}

const (
	maxFlaws    = 10
	clientHello = 0x16 // the first octet of a TLS record with a handshake
)

func newConn(g *guard, raw net.Conn, address netip.Addr) *conn {
	few := bufio.NewReaderSize(raw, fewOctets)
	return &conn{raw: raw, guard: g, address: address, began: time.Now(), stream: raw, in: few, few: few, refused: map[string]int{}}
}

// Read gives the engine the next command line or content. A fault of ours in
// here must end this connection only.
func (c *conn) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.panicked(r)
			n, err = 0, c.fail(errors.New("panic"))
		}
	}()
	for c.fault == nil {
		switch {
		case len(c.pending) > 0:
			n = copy(p, c.pending)
			c.pending = c.pending[n:]
			return n, nil
		case c.chunk > 0:
			n, err = c.readChunk(p)
		case c.data:
			_, err = c.readData(p) // the session has left it
		default:
			if c.nextCommand() != nil {
				return 0, io.EOF
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}

// nextCommand reads a command line into pending, or answers it itself.
func (c *conn) nextCommand() error {
	line, err := c.readLine()
	if err != nil {
		return err
	}
	line = trimEnd(line)
	cmd, bad := parseCommand(line)
	if bad == nil {
		bad = c.inSequence(cmd)
	}
	switch {
	case bad != nil:
		return c.answer(bad)
	case cmd.verb == "STARTTLS":
		return c.startTLS()
	case cmd.verb == "HELP": // the engine does not know it, and RFC 5321 4.1.1.8 wants an answer
		return c.send([]byte("214 2.0.0 this is SMTP by RFC 5321\r\n"))
	case cmd.verb == "RCPT" && cmd.path.Domain == "":
		line = c.addressed(&cmd)
	}
	c.uncounted(cmd.verb)
	if cmd.verb == "BDAT" && !c.open {
		c.asked = make(chan struct{})
	}
	c.verb, c.path, c.offered, c.chunk, c.last = cmd.verb, cmd.path, cmd.arg, cmd.chunk, cmd.last
	if cmd.chunk > 0 {
		c.begin()
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.pending = line // it stays in the buffer of in until the engine has it
	return nil
}

// readLine reads a command line that has to come within Timeouts.Command.
func (c *conn) readLine() ([]byte, error) {
	if !c.wait(time.Now().Add(c.timeouts().Command)) {
		return nil, c.farewell(c.notNow())
	}
	c.slim()
	first, err := c.in.Peek(1)
	c.widen()
	if err == nil && first[0] == clientHello { // a TLS ClientHello has no line end to wait for
		return nil, c.answer(refuse(reasonForeign, 554, smtp.StatusProtocolMismatch, "STARTTLS comes first").fatal())
	}
	var line []byte
	if err == nil {
		line, err = c.in.ReadSlice('\n')
	}
	if c.stopWaiting() && err != nil {
		return nil, c.farewell(c.notNow())
	}
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return line, nil // parseCommand refuses its length
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, c.farewell(refuse(reasonTimeout, 421, smtp.StatusTimeout, "timeout"))
	case err != nil:
		return nil, c.fail(err)
	}
	return line, nil
}

// inSequence refuses what may not come now.
func (c *conn) inSequence(cmd command) *refusal {
	switch cmd.verb {
	case "MAIL", "RCPT", "DATA":
		if c.hello == "" {
			return refuse(reasonSequence, 503, smtp.StatusSequence, "EHLO comes first")
		}
	case "EHLO", "HELO":
		return c.ownName(cmd.arg)
	case "BDAT":
		switch {
		case c.hello == "":
			return refuse(reasonSequence, 503, smtp.StatusSequence, "EHLO comes first").fatal()
		case c.loose: // the engine would mistake the result of that goroutine for the one of the new message
			return refuse(reasonSequence, 421, smtp.StatusLocalError, "a message was broken off: use a new connection").fatal()
		}
	case "STARTTLS":
		switch {
		case c.tls != "":
			return refuse(reasonSequence, 503, smtp.StatusSequence, "TLS is on already")
		case c.guard.server.options.TLS == nil:
			return refuse(reasonNotSupported, 502, smtp.StatusSequence, "STARTTLS is not offered")
		case c.in.Buffered() > 0: // RFC 3207 4: it was said before anybody knew the keys
			return refuse(reasonInjection, 554, smtp.StatusProtocolMismatch, "nothing may follow STARTTLS before its reply").fatal()
		}
	}
	return nil
}

// Write collects the lines of a reply and sends them together.
func (c *conn) Write(p []byte) (int, error) {
	if !c.greeted {
		c.greeted = true
		if err := c.greet(); err != nil {
			return 0, err
		}
	}
	c.reply = append(c.reply, p...)
	if len(p) > 3 && p[3] == '-' { // another line follows; the engine writes line by line
		return len(p), nil
	}
	reply := reworded(c.verb, c.reply)
	c.reply = c.reply[:0]
	code := string(p[:min(3, len(p))])
	c.awaitReader(code)
	c.countEngine(string(reply[:min(3, len(reply))]))
	switch {
	case code == "250" && (c.verb == "EHLO" || c.verb == "HELO"):
		c.hello, c.extended = c.offered, c.verb == "EHLO"
		reply = c.welcome(reply)
	case code == "354":
		c.data = true
		c.content = framing{dots: true}
		c.begin()
	}
	if isFault(code) && c.verb != "DATA" && c.verb != "BDAT" { // after all recipients were refused those are no fault
		if no := c.guard.server.strike(c.address, useBadCommand); no != nil {
			c.refuse(no.reason)
			reply, code = wireReply(no.reply), "421"
		}
	}
	c.follow(code)
	if c.mayHold(code) {
		c.held = append(c.held, reply...)
		return len(p), nil
	}
	if err := c.send(reply); err != nil {
		return 0, err
	}
	if code == "250" && c.verb == "DATA" {
		failpoint.Hit(failpoint.InboundAnswered)
	}
	if code == "421" { // RFC 5321 3.8: the connection is closed after it
		c.fail(io.EOF)
	}
	return len(p), nil
}

// mayHold reports whether a reply can wait for the next one: the client has sent
// the next command already, and reads the replies together (RFC 2920 3.2).
func (c *conn) mayHold(code string) bool {
	switch c.verb {
	case "MAIL", "RCPT", "RSET":
		behind, _ := c.in.Peek(c.in.Buffered())
		return code != "421" && bytes.IndexByte(behind, '\n') >= 0
	}
	return false
}

// next is the verb of the command behind the one that the engine is at, in upper
// case, if the client has sent it without waiting and it has no argument.
func (c *conn) next() string {
	behind, _ := c.in.Peek(c.in.Buffered())
	line, _, whole := bytes.Cut(behind, []byte("\r\n"))
	if !whole || len(line) > maxLine {
		return ""
	}
	return strings.ToUpper(string(bytes.TrimRight(line, " \t")))
}

// flush sends what is held.
func (c *conn) flush() error {
	if len(c.held) == 0 {
		return nil
	}
	return c.send(nil)
}

// follow keeps in mind whether the engine reads content of BDAT in a goroutine.
// It waits for that one only at the last chunk, unless the chunk is too big.
func (c *conn) follow(code string) {
	switch c.verb {
	case "BDAT":
		c.loose = c.loose || c.open && code != "250" && (!c.last || code == "552")
		c.open = code == "250" && !c.last
	case "RSET", "EHLO", "HELO":
		if code == "250" {
			c.loose = c.loose || c.open
			c.open = false
		}
	}
}

// welcome makes the reply to EHLO: our name comes first (RFC 5321 4.1.1.1), and
// STARTTLS, of which the engine knows nothing, is offered. The engine's SIZE is
// one more than what is taken, see newEngine.
func (c *conn) welcome(reply []byte) []byte {
	if !c.extended {
		return fmt.Appendf(nil, "250 %s\r\n", c.hostname())
	}
	_, keywords, _ := bytes.Cut(reply, []byte("\n"))
	words := fmt.Appendf(nil, "250-%s\r\n", c.hostname())
	if c.tls == "" && c.guard.server.options.TLS != nil {
		words = append(words, "250-STARTTLS\r\n"...)
	}
	if c.tls != "" && c.guard.server.options.offersRequireTLS() {
		words = append(words, "250-REQUIRETLS\r\n"...)
	}
	limit := c.guard.server.options.Limits.MessageSize
	return append(words, bytes.Replace(keywords, fmt.Appendf(nil, "SIZE %d", limit+1), fmt.Appendf(nil, "SIZE %d", limit), 1)...)
}

// answer says what the engine shall not see.
func (c *conn) answer(r *refusal) error {
	if no := c.badCommand(); no != nil && !r.cut {
		r = no
	}
	c.refuse(r.reason)
	if err := c.send(wireReply(r.reply)); err != nil {
		return err
	}
	if r.cut {
		return c.fail(io.EOF)
	}
	return nil
}

// farewell says why the connection ends.
func (c *conn) farewell(r *refusal) error {
	c.refuse(r.reason)
	if err := c.send(wireReply(r.reply)); err != nil {
		return err
	}
	return c.fail(io.EOF)
}

// send writes to the client: what is held, and p.
func (c *conn) send(p []byte) error {
	if c.fault != nil {
		return c.fault
	}
	if len(c.held) > 0 {
		p = append(c.held, p...)
		c.held = c.held[:0]
	}
	c.raw.SetWriteDeadline(time.Now().Add(c.timeouts().Write))
	if _, err := c.stream.Write(p); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.refuse(reasonDeaf)
		}
		return c.fail(err)
	}
	return nil
}

// fail makes err the answer to every further read and write.
func (c *conn) fail(err error) error {
	if c.fault == nil {
		c.fault = err
	}
	return c.fault
}

// wait begins to wait for the client. It is false if there is to be no next command, as notNow says.
func (c *conn) wait(until time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining || c.dismissed {
		return false
	}
	if last := c.began.Add(c.timeouts().Session); last.Before(until) {
		until = last
	}
	c.waiting = true
	c.keep(time.Now())
	c.raw.SetReadDeadline(until)
	return true
}

// stopWaiting reports whether drain or dismiss has come in between.
func (c *conn) stopWaiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting, c.owing = false, time.Time{}
	return c.draining || c.dismissed
}

// drain ends the connection at its next command, or now if it waits for one.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.waiting {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// during adds one to what has to end before the server does, unless the connection has ended.
func (c *conn) during(running *sync.WaitGroup) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		running.Add(1)
	}
	return !c.closed
}

// drained reports whether no new transaction should begin.
func (c *conn) drained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// Close ends the connection and writes the line about what it was refused. The
// engine may call it more than once.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	c.fail(net.ErrClosed)
	c.raw.SetWriteDeadline(time.Now().Add(c.timeouts().Write))
	err := c.stream.Close() // with TLS it says goodbye
	c.bill()
	c.guard.forget(c)
	c.summarize()
	return err
}

// summarize logs one line about a session in which something was refused.
func (c *conn) summarize() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.refused) == 0 {
		return
	}
	var reasons []any
	for reason, n := range c.refused {
		reasons = append(reasons, slog.Int(reason, n))
	}
	c.log().Info("session.refused", "address", c.address, "hello", c.hello, "tls", c.tls, slog.Group("reasons", reasons...))
}

// refuse counts a refusal.
func (c *conn) refuse(reason string) {
	c.mu.Lock()
	c.refused[reason]++
	c.counted = true
	c.mu.Unlock()
	c.guard.server.counts.refuse(reason)
}

func (c *conn) panicked(cause any) {
	c.refuse(reasonPanic)
	c.log().Error("session.panic", "address", c.address, "panic", smtp.Printable(fmt.Sprint(cause)), "stack", string(debug.Stack()))
}

func (c *conn) log() *slog.Logger   { return c.guard.server.options.Log }
func (c *conn) hostname() string    { return c.guard.server.options.Hostname }
func (c *conn) timeouts() *Timeouts { return &c.guard.server.options.Timeouts }

func (c *conn) LocalAddr() net.Addr  { return c.raw.LocalAddr() }
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// The engine's deadlines are not ours: its one for reading covers a command and
// all content behind it.

func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

func (c *conn) peer() peer {
	return peer{address: c.address, hello: c.hello, extended: c.extended, tls: c.tls, cipher: c.cipher}
}
