package outbound

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mxkeep/mxkeep/relay/smtp"
)

// Bounds of one reply. Exchange keeps lines within 2,000 octets and replies
// within 50 lines; RFC 5321 4.5.3.1.5 promises 512 octets.
const (
	maxReplyLine  = 2000
	maxReplyLines = 100
	readBuffer    = 4 << 10
	writeBuffer   = 32 << 10
)

// errGarbled is wrapped by errors about bytes that are no reply.
var errGarbled = errors.New("no SMTP reply")

// wire is one connection: command lines out, replies in. It is used by one
// goroutine; only the end of a context reaches it from outside.
type wire struct {
	raw   net.Conn // to cut
	conn  net.Conn // raw, or TLS on it
	in    *bufio.Reader
	out   *bufio.Writer
	limit time.Time         // of the attempt, which no phase may pass
	cut   atomic.Bool       // by us, because the context was cancelled
	say   func(line string) // gets the dialogue, if not nil
}

func newWire(conn net.Conn, say func(string)) *wire {
	w := &wire{raw: conn, say: say}
	w.speakOver(conn)
	return w
}

// speakOver goes on over another connection, such as TLS on the first one.
func (w *wire) speakOver(conn net.Conn) {
	w.conn = conn
	w.in = bufio.NewReaderSize(conn, readBuffer)
	w.out = bufio.NewWriterSize(conn, writeBuffer)
}

// under bounds the wire by a context: no phase lasts longer than its deadline,
// and cancelling it cuts the connection. release ends the second; it is false
// if the cut has begun already.
func (w *wire) under(ctx context.Context) (release func() bool) {
	w.limit, _ = ctx.Deadline()
	return context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			w.cut.Store(true)
			w.raw.Close()
		}
	})
}

// allow gives the next phase its time.
func (w *wire) allow(d time.Duration) {
	at := time.Now().Add(d)
	if !w.limit.IsZero() && w.limit.Before(at) {
		at = w.limit
	}
	w.conn.SetDeadline(at) // fails only on a closed connection, which the next read will tell
}

// inStep fails if something was received that answers nothing: from there on
// nobody knows which reply belongs to what, and a 250 could be that of another step.
func (w *wire) inStep() error {
	if w.in.Buffered() > 0 {
		return fmt.Errorf("%w: it came before it was asked for", errGarbled)
	}
	return nil
}

// send puts command lines into the buffer and flushes it.
func (w *wire) send(lines ...string) error {
	if err := w.inStep(); err != nil {
		return err
	}
	for _, line := range lines {
		w.tell("C: " + line)
		w.out.WriteString(line) // the error stays in the writer until Flush
		w.out.WriteString("\r\n")
	}
	return w.out.Flush()
}

// receive reads one reply.
func (w *wire) receive() (smtp.Reply, error) {
	r, err := readReply(w.in)
	if err != nil {
		return smtp.Reply{}, err
	}
	for i, line := range r.Lines {
		mark := " "
		if i < len(r.Lines)-1 {
			mark = "-"
		}
		status := r.Status.String()
		if status != "" {
			status += " "
		}
		w.tell("S: " + strconv.Itoa(r.Code) + mark + status + line)
	}
	return r, nil
}

func (w *wire) tell(line string) {
	if w.say != nil {
		w.say(line)
	}
}

// readReply reads a reply of one or more lines (RFC 5321 4.2.1). Its enhanced
// status is the one of the first line (RFC 2034 4); lines that repeat it lose it.
func readReply(in *bufio.Reader) (smtp.Reply, error) {
	var r smtp.Reply
	for {
		line, err := readLine(in)
		if err != nil {
			return smtp.Reply{}, err
		}
		code, text, more, err := cutLine(line)
		if err != nil {
			return smtp.Reply{}, err
		}
		status, rest, _ := smtp.ParseEnhancedStatus(text)
		if r.Code == 0 {
			r.Code, r.Status = code, status
		}
		if code != r.Code {
			return smtp.Reply{}, fmt.Errorf("%w: code %d in a reply of %d", errGarbled, code, r.Code)
		}
		if status == r.Status {
			text = rest
		}
		r.Lines = append(r.Lines, text)
		if !more {
			return r, nil
		}
		if len(r.Lines) == maxReplyLines {
			return smtp.Reply{}, fmt.Errorf("%w: more than %d lines", errGarbled, maxReplyLines)
		}
	}
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull), err == nil && len(line) > maxReplyLine:
		return "", fmt.Errorf("%w: line of more than %d octets", errGarbled, maxReplyLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}

// cutLine divides a line into its code and text. more says that another line follows.
func cutLine(line string) (code int, text string, more bool, err error) {
	digits := line[:min(3, len(line))]
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n < 200 || n > 599 {
		return 0, "", false, fmt.Errorf("%w: %.80q", errGarbled, line)
	}
	switch rest := line[3:]; {
	case rest == "":
		return int(n), "", false, nil
	case rest[0] == ' ' || rest[0] == '-':
		return int(n), rest[1:], rest[0] == '-', nil
	}
	return 0, "", false, fmt.Errorf("%w: %.80q", errGarbled, line)
}
