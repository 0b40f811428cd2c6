package inbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/mxkeep/mxkeep/queue"
	"github.com/mxkeep/mxkeep/relay/smtp"
)

// engine runs go-smtp over connections that conn has tamed. No other file knows it.
type engine struct {
	*gosmtp.Server
	ctx      context.Context
	cut      context.Context // ends when sessions are cut, before ctx
	server   *Server
	contents sync.WaitGroup // goroutines that read content
}

func newEngine(ctx, cut context.Context, s *Server) *engine {
	e := &engine{ctx: ctx, cut: cut, server: s}
	e.Server = gosmtp.NewServer(e)
	e.Domain = s.options.Hostname
	e.MaxMessageBytes = s.options.Limits.MessageSize + 1 // it refuses a message of exactly its limit
	e.MaxLineLength = 0                                  // it would count the lines of content, too; conn bounds those of commands
	e.ReadTimeout = time.Hour                            // conn has its own; 0 would make it fail on QUIT with a command behind it
	e.EnableSMTPUTF8 = true
	e.EnableDSN = true
	e.EnableREQUIRETLS = true // to be understood; conn offers it, as the engine knows nothing of TLS
	e.ErrorLog = engineLog{s.options.Log}
	return e
}

func (e *engine) serve(l net.Listener) error { return e.Serve(l) }

// wait returns when every session has ended. serve must have returned.
func (e *engine) wait() {
	e.Shutdown(context.Background()) // its error is that the listener is closed already
	e.contents.Wait()
}

// NewSession begins a session at the first EHLO or HELO.
func (e *engine) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	conn := c.Conn().(*conn) // as the guard accepted it
	return &adapter{engine: e, conn: conn, session: &session{server: e.server, client: conn, ctx: e.ctx, cut: e.cut}}, nil
}

// adapter is a session as go-smtp wants it.
type adapter struct {
	engine  *engine
	conn    *conn
	session *session
}

// Reset drops the transaction.
func (a *adapter) Reset() { a.session.reset() }

// Logout ends what a session has with the primary. The rest goes with it.
func (a *adapter) Logout() error {
	return a.answer(func() *refusal {
		a.session.leave()
		return nil
	})
}

// Mail begins a transaction.
func (a *adapter) Mail(from string, o *gosmtp.MailOptions) error {
	return a.answer(func() *refusal {
		return a.session.mail(from, mailParams{size: o.Size, Params: queue.Params{
			Body: string(o.Body), SMTPUTF8: o.UTF8, RequireTLS: o.RequireTLS, Ret: string(o.Return), EnvID: o.EnvelopeID}})
	})
}

// Rcpt adds a recipient. Its path is the one that conn has read.
func (a *adapter) Rcpt(_ string, o *gosmtp.RcptOptions) error {
	return a.answer(func() *refusal {
		r := queue.Recipient{}
		if o.OriginalRecipient != "" {
			r.ORcpt = strings.ToLower(string(o.OriginalRecipientType)) + ";" + o.OriginalRecipient
		}
		for _, n := range o.Notify {
			r.Notify = append(r.Notify, string(n))
		}
		return a.session.rcpt(a.conn.path, r)
	})
}

// Data takes the content, that of DATA from the connection itself. For BDAT
// go-smtp calls it with a pipe, in a goroutine of its own, and does not wait for
// it if the connection ends, so the engine does.
func (a *adapter) Data(r io.Reader) error {
	_, chunked := r.(*io.PipeReader)
	if chunked {
		asked := a.conn.asked
		begun := sync.OnceFunc(func() { close(asked) })
		defer begun()
		r = chunks{r, begun}
	} else {
		r = body{a.conn}
	}
	if !a.conn.during(&a.engine.contents) {
		return errorOf(net.ErrClosed)
	}
	defer a.engine.contents.Done()
	var done smtp.Reply
	err := a.answer(func() (no *refusal) {
		if done, no = a.session.receive(r); no != nil && !chunked {
			io.Copy(io.Discard, r) // only at its end the client listens; after a chunk it does, too
		}
		return no
	})
	if err != nil {
		return err
	}
	return &gosmtp.SMTPError{Code: 250, EnhancedCode: statusOf(done), Message: done.Text()}
}

// answer turns what the session says into an error of go-smtp: nil is accepted.
// A panic ends this session only.
func (a *adapter) answer(ask func() *refusal) (err error) {
	defer func() {
		if r := recover(); r != nil {
			a.conn.panicked(r)
			err = errorOf(smtp.NewReply(421, smtp.StatusLocalError, "local error, try again later"))
		}
	}()
	no := ask()
	if no == nil {
		return nil
	}
	a.conn.refuse(no.reason)
	return errorOf(no.reply)
}

// errorOf is the only way of an error into go-smtp, which makes others permanent
// or shows their text. Unknown is temporary.
func errorOf(err error) *gosmtp.SMTPError {
	r := smtp.Reply{}
	if !errors.As(err, &r) || len(r.Lines) == 0 || r.Positive() {
		r = smtp.NewReply(451, smtp.StatusLocalError, "local error, try again later")
	}
	return &gosmtp.SMTPError{Code: r.Code, EnhancedCode: statusOf(r), Message: r.Text()}
}

// statusOf leaves it to go-smtp to make one up if the reply has none.
func statusOf(r smtp.Reply) gosmtp.EnhancedCode {
	if r.Status == (smtp.EnhancedStatus{}) {
		return gosmtp.EnhancedCodeNotSet
	}
	return gosmtp.EnhancedCode(r.Status)
}

// engineLog takes what go-smtp has to say.
type engineLog struct{ log *slog.Logger }

// Printf logs a line.
func (l engineLog) Printf(format string, v ...any) {
	l.log.Error("engine.error", "text", smtp.Printable(fmt.Sprintf(format, v...)))
}

// Println logs a line.
func (l engineLog) Println(v ...any) {
	l.log.Error("engine.error", "text", smtp.Printable(fmt.Sprint(v...)))
}
